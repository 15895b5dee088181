/** One app for the live dashboard and the report: the frame of every page, and which view stands in it. It knows its backend only as `Backend`. */
import { render, Component, type ComponentChildren, type JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { signal } from '@preact/signals';
import type { Backend } from '../src/analysis/views.ts';
import { askWhole, backend, isConnected, news, showNews, trouble, useAsk, useBackend, watch, whole, wholeRound } from './ask.ts';
import { EvidenceLine } from './evidence.tsx';
import { count, counted, zone } from './figures.ts';
import { followKeys, Help, isHelpOpen, useKeys } from './keyboard.tsx';
import { growsAbove } from './list.tsx';
import { Empty, Icon, type Shape } from './parts.tsx';
import { followAddress, link, narrowedLink, range, route } from './route.ts';
import { Search } from './search.tsx';
import { followTail, isHeld, isPaused } from './tail.ts';
import { Text } from './text.tsx';
import { EntitiesView, EntityView } from './views/entities.tsx';
import { FindingsView } from './views/findings.tsx';
import { OverviewView } from './views/overview.tsx';
import { CallsView, CallView, CompareView, EntriesView, EntryView } from './views/records.tsx';
import { SessionsView, SessionView } from './views/sessions.tsx';
import { ToolsView, ToolView } from './views/tools.tsx';
import { VerifyView } from './views/verify.tsx';

interface View {
  title: string;
  /** Of the tab that is marked while it is open. */
  tab: string;
  view: () => JSX.Element;
}

const views: ReadonlyMap<string, View> = new Map([
  ['overview', { title: 'Overview', tab: 'overview', view: OverviewView }],
  ['sessions', { title: 'Sessions', tab: 'sessions', view: SessionsView }],
  ['session', { title: 'Session', tab: 'sessions', view: SessionView }],
  ['calls', { title: 'Calls', tab: 'calls', view: CallsView }],
  ['entries', { title: 'Entries', tab: 'calls', view: EntriesView }],
  ['call', { title: 'Call', tab: 'calls', view: CallView }],
  ['entry', { title: 'Entry', tab: 'calls', view: EntryView }],
  ['compare', { title: 'Two calls', tab: 'calls', view: CompareView }],
  ['tools', { title: 'Tools', tab: 'tools', view: ToolsView }],
  ['tool', { title: 'Tool', tab: 'tools', view: ToolView }],
  ['entities', { title: 'Entities', tab: 'entities', view: EntitiesView }],
  ['entity', { title: 'Entity', tab: 'entities', view: EntityView }],
  ['findings', { title: 'Findings', tab: 'findings', view: FindingsView }],
  ['verify', { title: 'Verify', tab: 'verify', view: VerifyView }],
]);
/** A view that the live dashboard alone has. */
export interface LiveView {
  name: string;
  title: string;
  /** Leads there. */
  key: string;
  view: () => JSX.Element;
  /** Whether there is such a thing at all, and how much of it waits. */
  isThere: () => boolean;
  waiting: () => number;
}

const live: LiveView[] = [];
const tabs: readonly string[] = ['overview', 'sessions', 'calls', 'tools', 'entities', 'findings', 'verify'];

type Theme = 'light' | 'dark' | undefined;
const theme = signal<Theme>(undefined);

function Themes(): JSX.Element {
  const isDark = theme.value === undefined ? matchMedia('(prefers-color-scheme: dark)').matches : theme.value === 'dark';
  return (
    <button
      type="button"
      class="quiet theme"
      aria-label={isDark ? 'Light colours' : 'Dark colours'}
      title={isDark ? 'Light colours' : 'Dark colours'}
      onClick={() => {
        theme.value = isDark ? 'light' : 'dark';
        document.documentElement.dataset['theme'] = theme.value;
      }}
    >
      <svg viewBox="0 0 12 12" width="14" height="14" aria-hidden="true">
        <circle cx="6" cy="6" r="4.6" fill="none" stroke="currentColor" />
        <path d="M6 1.4a4.6 4.6 0 0 1 0 9.2z" fill="currentColor" />
      </svg>
    </button>
  );
}

function Header({ tab }: { tab: string }): JSX.Element {
  useAsk(askWhole, ['tabs', wholeRound.value]);
  const there = live.filter(({ isThere }) => isThere());
  const isLive = backend().kind === 'live';
  useKeys([
    ...there.map(({ key, name, title }) => ({ key, does: title.toLowerCase(), act: () => (location.hash = narrowedLink(name)) })),
    ...(isLive ? [{ key: 'l', does: 'stop and go on with showing what is new', act: pause }] : []),
  ]);
  const figures = whole.value;
  const open = figures === undefined ? 0 : figures.findings.high + figures.findings.medium + figures.findings.low;
  useEffect(() => {
    if (figures !== undefined) zone.value = figures.zone;
  }, [figures?.zone]);
  return (
    <header class="top">
      <a class="home" href={link('overview')}>
        sworn
      </a>
      <nav aria-label="Views">
        {tabs.map((name) => (
          <a key={name} href={narrowedLink(name)} aria-current={tab === name ? 'page' : undefined}>
            {views.get(name)!.title}
            {name === 'findings' && open > 0 ? (
              <span class="badge">
                {count(open)}
                <span class="unseen"> open</span>
              </span>
            ) : null}
          </a>
        ))}
        {there.map(({ name, title, waiting }) => (
          <a key={name} class={waiting() > 0 ? 'urgent' : ''} href={narrowedLink(name)} aria-current={tab === name ? 'page' : undefined}>
            {title}
            {waiting() > 0 ? (
              <span class="badge waits">
                {count(waiting())}
                <span class="unseen"> waiting</span>
              </span>
            ) : null}
          </a>
        ))}
      </nav>
      <Search />
      {isLive ? <Tail /> : null}
      <Themes />
      <button type="button" class="quiet" aria-label="Keyboard help" title="Keyboard help" onClick={() => (isHelpOpen.value = true)}>
        ?
      </button>
    </header>
  );
}

function pause(): void {
  isPaused.value = !isPaused.value;
}

/** Whether what is new shows by itself. */
function Tail(): JSX.Element {
  const [shape, word, title]: [Shape, string, string] = !isConnected.value
    ? ['error', 'not connected', 'The dashboard does not say what is new: it is tried again. What is shown may be old.']
    : isPaused.value
      ? ['paused', 'paused', 'Nothing moves by itself (l goes on)']
      : ['read', 'live', 'What is new shows by itself, but for what it would move while you read it (l stops it)'];
  return (
    <button type="button" class={`quiet tail ${shape}`} title={title} onClick={pause}>
      <Icon shape={shape} />
      <span class="word">{word}</span>
    </button>
  );
}

/** What is new and is not shown by itself. */
function newsText(): string | undefined {
  const { entries, calls, findings, isMore } = news.value;
  const { until } = range.value;
  // a stretch that has ended has nothing new
  if (until !== undefined && Date.parse(until) < Date.now()) return undefined;
  const parts = [
    calls > 0 ? counted(calls, 'call') : entries > 0 && route.value.view === 'entries' ? counted(entries, 'record') : '',
    findings > 0 ? counted(findings, 'finding') : '',
  ].filter((part) => part !== '');
  if (parts.length > 0) return `${parts.join(' and ')} new`;
  return isMore && isPaused.value ? 'there may be more' : undefined;
}

function News(): JSX.Element | null {
  const text = isPaused.value || isHeld.value ? newsText() : undefined;
  if (trouble.value !== undefined)
    return (
      <p class="news failed" role="alert">
        <span>
          <Icon shape="error" /> Not up to date: <Text most={200}>{trouble.value}</Text>
        </span>{' '}
        {isPaused.value || isHeld.value ? (
          <button type="button" onClick={showNews}>
            try again
          </button>
        ) : null}
      </p>
    );
  if (text === undefined) return null;
  return (
    <p class="news">
      <span class="unseen" role="status">
        There is something new.
      </span>
      <button
        type="button"
        onClick={() => {
          // what is newest stands above
          if (growsAbove()) scrollTo(0, 0);
          showNews();
        }}
      >
        {text}
      </button>
    </p>
  );
}

/** A view that fails leaves the evidence line and the others standing. */
class Fence extends Component<{ children: ComponentChildren; about: string }, { error?: Error; about?: string }> {
  override state: { error?: Error; about?: string } = {};
  static override getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }
  override componentDidUpdate(before: { about: string }): void {
    if (before.about !== this.props.about && this.state.error !== undefined) this.setState({ error: undefined as never });
  }
  override render(): ComponentChildren {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div class="broken" role="alert">
        This view could not be drawn: <Text>{error.message}</Text>
      </div>
    );
  }
}

function liveViewOf(name: string): View | undefined {
  const found = live.find((one) => one.name === name);
  return found && { title: found.title, tab: name, view: found.view };
}

function App(): JSX.Element {
  const { view: name, parts } = route.value;
  const found = views.get(name) ?? liveViewOf(name);
  const tab = found?.tab ?? '';
  const waiting = live.reduce((sum, one) => sum + one.waiting(), 0);
  useEffect(() => {
    document.title = `${waiting > 0 ? `(${count(waiting)}) ` : ''}${found?.title ?? 'Not found'} · sworn`;
  }, [found?.title, waiting]);
  const Shown = found?.view;
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>('#main')?.focus();
        }}
      >
        To the content
      </a>
      <Header tab={tab} />
      <EvidenceLine />
      <News />
      <main id="main" tabIndex={-1}>
        <Fence about={`${name}/${parts.join('/')}?${JSON.stringify(range.value)}`}>
          {Shown === undefined ? (
            <Empty>
              There is no view of this name. <a href={link('overview')}>Overview</a>
            </Empty>
          ) : (
            <Shown key={`${name}/${parts.join('/')}`} />
          )}
        </Fence>
      </main>
      <Help />
    </>
  );
}

/** `more`: views that a report does not have. */
export function start(backend: Backend, root: Element, more: readonly LiveView[] = []): void {
  if (backend.kind === 'live') followTail();
  live.push(...more);
  useBackend(backend);
  followAddress();
  followKeys();
  watch(backend);
  root.textContent = '';
  render(<App />, root);
}
