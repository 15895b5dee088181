/**
 * What can be said of an expression before it runs: errors of what can never run, and doubts about what can.
 */
import type { CelFunc } from '@bufbuild/cel';
import { celFunctions } from './cel-functions.ts';
import { Pattern } from './cel-pattern.ts';
import { ConditionError, parsed } from './condition-syntax.ts';
import type { Expr, Parsed } from './condition-syntax.ts';
import { anything, boolShape, dyn, shapes, textShape, variables } from './condition-variables.ts';
import type { Shape } from './condition-variables.ts';

/** Names of types are values too: `type(args.x) == string`. */
const typeNames = new Set(['int', 'uint', 'double', 'bool', 'string', 'bytes', 'list', 'map', 'null_type', 'type']);

interface Local {
  /** Differs from that of every other variable of that name. */
  readonly path: string;
  readonly shape: Shape;
  /** The texts that a variable of a macro over a list of literals goes through. */
  readonly texts?: readonly string[];
}

type Scope = ReadonlyMap<string, Local>;
/** Paths that are there whenever the expression at hand decides anything. */
type Facts = ReadonlySet<string>;

const none: Facts = new Set();

/** Finds errors first and then doubts, in one walk. */
class Reader {
  readonly #source: string;
  readonly #positions: Readonly<Record<string, number>>;
  readonly used = new Set<string>();
  readonly patterns = new Map<string, Pattern>();
  readonly warnings: { offset: number; message: string }[] = [];
  readonly #warned = new Set<string>();
  readonly #absent = new Set<string>();
  #locals = 0;

  constructor(source: string, { sourceInfo }: Parsed) {
    this.#source = source;
    this.#positions = sourceInfo?.positions ?? {};
  }

  #offset({ id }: Expr): number {
    return this.#positions[String(id)] ?? 0;
  }

  #fail(message: string, at: Expr): never {
    throw new ConditionError(message, this.#source, this.#offset(at));
  }

  #warn(message: string, at: Expr): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.warnings.push({ offset: this.#offset(at), message });
  }

  read(expr: Expr, scope: Scope = new Map(), facts: Facts = none): Shape {
    const { exprKind } = expr;
    switch (exprKind.case) {
      case 'constExpr':
        return { type: this.#constant(expr) };
      case 'identExpr':
        return this.#name(expr, exprKind.value.name, scope);
      case 'selectExpr':
        return this.#select(expr, scope, facts);
      case 'callExpr':
        return this.#call(expr, scope, facts);
      case 'listExpr':
        for (const item of exprKind.value.elements) this.read(item, scope, facts);
        return { type: 'list' };
      case 'structExpr':
        if (exprKind.value.messageName !== '') this.#fail(`${exprKind.value.messageName}{…}: a condition cannot make messages`, expr);
        for (const { keyKind, value } of exprKind.value.entries) {
          if (keyKind.case === 'mapKey') this.read(keyKind.value, scope, facts);
          if (value) this.read(value, scope, facts);
        }
        return { type: 'map' };
      case 'comprehensionExpr':
        return this.#macro(expr, scope, facts);
      default:
        return this.#fail('syntax: cannot be read', expr);
    }
  }

  #constant(expr: Expr): string {
    const { case: kind, value } = (expr.exprKind.value as { constantKind: { case: string; value: unknown } }).constantKind;
    if (kind === 'int64Value' && BigInt.asIntN(64, value as bigint) !== value) this.#fail(`${String(value)} is no 64-bit int`, expr);
    if (kind === 'uint64Value' && BigInt.asUintN(64, value as bigint) !== value) this.#fail(`${String(value)}u is no 64-bit uint`, expr);
    return kind === 'nullValue' ? 'null_type' : kind.replace(/(?:64)?Value$/, '');
  }

  #name(expr: Expr, written: string, scope: Scope): Shape {
    const local = scope.get(written);
    if (local) return local.shape;
    const name = written.replace(/^\./, '');
    const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
    if (shape) {
      this.used.add(name);
      return shape;
    }
    if (typeNames.has(name)) return { type: 'type' };
    return this.#fail(`unknown variable ${name}; a condition may use ${Object.keys(variables).join(', ')}`, expr);
  }

  /** Of a chain of fields from a variable, `a.b["c"]`; undefined for what a macro or a call gives. */
  #path(expr: Expr, scope: Scope): string | undefined {
    const { exprKind } = expr;
    if (exprKind.case === 'identExpr') return scope.get(exprKind.value.name)?.path ?? exprKind.value.name.replace(/^\./, '');
    const step = fieldOf(expr);
    const parent = step && this.#path(step.operand, scope);
    return parent === undefined ? undefined : parent + pathStep + step!.field;
  }

  #select(expr: Expr, scope: Scope, facts: Facts): Shape {
    const { operand, field } = fieldOf(expr)!;
    const parent = this.read(operand, scope, facts);
    const tested = expr.exprKind.case === 'selectExpr' && expr.exprKind.value.testOnly;
    const shape = this.#member(parent, field, expr);
    const path = this.#path(expr, scope);
    // what is above it was said already
    if (!tested && shape.optional && path !== undefined && !facts.has(path) && ![...withParents(path)].some((one) => this.#absent.has(one))) {
      this.#absent.add(path);
      const [above, shown] = [shownPath(path.slice(0, path.lastIndexOf(pathStep))), shownPath(path)];
      const guard = shown.endsWith(']') ? `${JSON.stringify(field)} in ${above}` : `has(${shown})`;
      this.#warn(`${shown} may be absent, and reading it is then an error: guard it, as in ${guard} && …`, expr);
    }
    return tested ? boolShape : shape;
  }

  #member(parent: Shape, field: string, at: Expr): Shape {
    if (parent.members) {
      const known = Object.hasOwn(parent.members, field) ? parent.members[field] : undefined;
      if (!known) this.#warn(`there is no field ${field}, only ${Object.keys(parent.members).join(', ')}`, at);
      return known ?? dyn;
    }
    if (parent.type !== 'map' && parent.type !== 'dyn') this.#warn(`a ${parent.type} has no field ${field}`, at);
    return parent.member ?? anything;
  }

  #call(expr: Expr, scope: Scope, facts: Facts): Shape {
    const call = expr.exprKind.value as Call;
    const { function: name, args, target } = call;
    if (name === '_&&_' || name === '_||_') return this.#logic(expr, name, scope, facts);
    if (name === '_?_:_') return this.#choice(args as [Expr, Expr, Expr], scope, facts);
    if (name === '_[_]') {
      if (fieldOf(expr)) return this.#select(expr, scope, facts);
      const parent = this.read(args[0]!, scope, facts);
      this.read(args[1]!, scope, facts);
      return parent.member ? { ...parent.member } : dyn;
    }
    if (name === '@not_strictly_false') {
      this.read(args[0]!, scope, facts);
      return boolShape;
    }
    // strings.quote(x) looks like a method of a variable
    const space = target?.exprKind.case === 'identExpr' ? `${target.exprKind.value.name}.${name}` : undefined;
    const qualified = space !== undefined && celFunctions.some((func) => func.name === space);
    const self = target && !qualified ? this.read(target, scope, facts) : undefined;
    const found = this.#functions(expr, qualified ? space : name, self !== undefined, args.length);
    const shapes = args.map((arg) => this.read(arg, scope, facts));
    if (name === 'matches') this.#pattern(args[0]!, scope);
    return this.#result(expr, found, self, shapes);
  }

  #functions(expr: Expr, name: string, method: boolean, count: number): CelFunc[] {
    const named = celFunctions.filter((func) => func.name === name);
    const found = named.filter((func) => (func.target !== undefined) === method && func.arguments.length === count);
    if (found.length > 0) return found;
    if (name === 'has') this.#fail('has() takes a field: has(args.name)', expr);
    if (['exists', 'all', 'exists_one', 'map', 'filter'].includes(name))
      this.#fail(`${name}() takes a variable and an expression: list.${name}(x, …)`, expr);
    if (named.length === 0) this.#fail(`unknown function ${name}()`, expr);
    const forms = named.map((func) => `${func.target ? `${func.target.name}.` : ''}${name}(${func.arguments.map(({ name }) => name).join(', ')})`);
    return this.#fail(`${name}() is called as ${[...new Set(forms)].join(' or ')}`, expr);
  }

  /** The result of a call whose arguments fit; a warning when none can. */
  #result(expr: Expr, found: CelFunc[], self: Shape | undefined, args: Shape[]): Shape {
    const can = (shape: Shape, type: string): boolean => shape.type === 'dyn' || type === 'dyn' || shape.type === type;
    const fitting = found.filter((func) => (!self || can(self, func.target!.name)) && args.every((arg, i) => can(arg, func.arguments[i]!.name)));
    const { name } = found[0]!;
    const operator = /^[!-]?_|_$|^@/.test(name);
    const shown = operator ? name.replaceAll(/[_@]/g, '') : `${name}()`;
    const types = [...(self ? [self] : []), ...args].map(({ type }) => type);
    if (fitting.length === 0) this.#warn(`${shown} has no meaning for ${types.join(' and ')}: this is always an error`, expr);
    if ((name === '_==_' || name === '_!=_') && !mayEqual(types[0]!, types[1]!)) this.#warn(`${types.join(' and ')} are never equal`, expr);
    // a message's numbers are doubles, and arithmetic takes two of a kind
    const [left, right] = args;
    if (/^_[-+*/%]_$/.test(name) && [left, right].some((one) => one?.optional) && types.includes('int')) {
      this.#warn(`numbers of a message are doubles, and ${shown} does not take a double and an int: write 1.0 for 1, or int(…)`, expr);
    }
    const results = new Set(fitting.map(({ result }) => result.name));
    return results.size === 1 ? { type: [...results][0]! } : dyn;
  }

  #pattern(arg: Expr, scope: Scope): void {
    const texts =
      arg.exprKind.case === 'identExpr' ? scope.get(arg.exprKind.value.name)?.texts : textOf(arg) === undefined ? undefined : [textOf(arg)!];
    if (!texts) this.#fail('the pattern of matches() must be written here, as a text or as a list of texts that a macro goes through', arg);
    for (const one of texts) {
      try {
        if (!this.patterns.has(one)) this.patterns.set(one, new Pattern(one));
      } catch (error) {
        this.#fail(`the pattern ${JSON.stringify(one)} cannot be used: ${(error as Error).message}`, arg);
      }
    }
  }

  /**
   * CEL's `&&` and `||` do not mind the order: an error on one side does not matter when the other side decides. So every operand may rely on what all others say where they do
   * not decide.
   */
  #logic(expr: Expr, name: string, scope: Scope, facts: Facts): Shape {
    const operands = operandsOf(expr, name);
    const said = operands.map((operand) => this.#facts(operand, name === '_&&_', scope));
    operands.forEach((operand, i) => {
      const { type } = this.read(operand, scope, union([facts, ...said.filter((_, other) => other !== i)]));
      if (type !== 'bool' && type !== 'dyn') this.#warn(`${name.slice(1, 3)} takes bools, not a ${type}`, operand);
    });
    return boolShape;
  }

  #choice([condition, yes, no]: [Expr, Expr, Expr], scope: Scope, facts: Facts): Shape {
    const { type } = this.read(condition, scope, facts);
    if (type !== 'bool' && type !== 'dyn') this.#warn(`?: takes a bool, not a ${type}`, condition);
    const left = this.read(yes, scope, union([facts, this.#facts(condition, true, scope)]));
    const right = this.read(no, scope, union([facts, this.#facts(condition, false, scope)]));
    return left.type === right.type ? { type: left.type } : dyn;
  }

  /** What is there when an expression is true (or false). */
  #facts(expr: Expr, when: boolean, scope: Scope): Facts {
    const { exprKind } = expr;
    if (exprKind.case === 'selectExpr' && exprKind.value.testOnly) return when ? withParents(this.#path(expr, scope)) : none;
    if (exprKind.case !== 'callExpr') return none;
    const { function: name, args } = exprKind.value;
    if (name === '!_') return this.#facts(args[0]!, !when, scope);
    if (name === '@in' && when) {
      const [member, map] = args;
      const path = this.#path(map!, scope);
      const field = textOf(member!);
      return field === undefined || path === undefined ? none : withParents(path + pathStep + field);
    }
    if (name === '_&&_' || name === '_||_') {
      const said = operandsOf(expr, name).map((operand) => this.#facts(operand, when, scope));
      return when === (name === '_&&_') ? union(said) : new Set([...said[0]!].filter((path) => said.every((facts) => facts.has(path))));
    }
    return none;
  }

  #macro(expr: Expr, scope: Scope, facts: Facts): Shape {
    const { accuVar, accuInit, iterVar, iterRange, loopCondition, loopStep, result } = expr.exprKind.value as Comprehension;
    if (Object.hasOwn(shapes, iterVar)) this.#warn(`${iterVar} hides the variable of that name`, expr);
    const range = this.read(iterRange!, scope, facts);
    if (!['list', 'map', 'dyn'].includes(range.type)) this.#warn(`a macro goes through lists and maps, not a ${range.type}`, iterRange!);
    const items = iterRange!.exprKind.case === 'listExpr' ? iterRange!.exprKind.value.elements.map(textOf) : [];
    const texts = items.length > 0 && items.every((item) => item !== undefined) ? items : undefined;
    const outer = new Map(scope).set(accuVar, { path: `${accuVar}#${this.#locals}`, shape: { type: this.read(accuInit!, scope, facts).type } });
    const shape = range.type === 'map' || texts ? textShape : dyn;
    const inner = new Map(outer).set(iterVar, { path: `${iterVar}#${this.#locals++}`, shape, ...(texts ? { texts } : {}) });
    this.read(loopCondition!, inner, facts);
    this.read(loopStep!, inner, facts);
    return this.read(result!, outer, facts);
  }
}

type Call = Extract<Expr['exprKind'], { case: 'callExpr' }>['value'];
type Comprehension = Extract<Expr['exprKind'], { case: 'comprehensionExpr' }>['value'];

function textOf({ exprKind }: Expr): string | undefined {
  return exprKind.case === 'constExpr' && exprKind.value.constantKind.case === 'stringValue' ? exprKind.value.constantKind.value : undefined;
}

/** `a.b`, `has(a.b)` and `a["b"]` are one thing. */
function fieldOf({ exprKind }: Expr): { operand: Expr; field: string } | undefined {
  if (exprKind.case === 'selectExpr') return { operand: exprKind.value.operand!, field: exprKind.value.field };
  if (exprKind.case !== 'callExpr' || exprKind.value.function !== '_[_]') return undefined;
  const [operand, index] = exprKind.value.args as [Expr, Expr];
  const field = textOf(index);
  return field === undefined ? undefined : { operand, field };
}

/** Of nested `a && (b && c)`, all three. */
function operandsOf(expr: Expr, name: string): Expr[] {
  const { exprKind } = expr;
  return exprKind.case === 'callExpr' && exprKind.value.function === name ? exprKind.value.args.flatMap((arg) => operandsOf(arg, name)) : [expr];
}

function union(sets: Facts[]): Facts {
  return new Set(sets.flatMap((set) => [...set]));
}

/** Between the steps of a path, where a member's name may hold any character but hardly this one. */
const pathStep = '\0';

/** As it is written in an expression. */
function shownPath(path: string): string {
  const [root, ...steps] = path.split(pathStep);
  return root!.replace(/#\d+$/, '') + steps.map((step) => (/^[A-Za-z_]\w*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`)).join('');
}

function withParents(path: string | undefined): Facts {
  const steps = path?.split(pathStep) ?? [];
  return new Set(steps.map((_, i) => steps.slice(0, i + 1).join(pathStep)));
}

function mayEqual(left: string, right: string): boolean {
  const number = /^(?:int|uint|double)$/;
  return left === right || left === 'dyn' || right === 'dyn' || (number.test(left) && number.test(right));
}

export interface Checked {
  expr: Expr;
  reader: Reader;
  shape: Shape;
}

/** @throws ConditionError for what can never run: syntax, names that do not exist, patterns that are none. */
export function checked(text: string): Checked {
  const result = parsed(text);
  const reader = new Reader(text, result);
  return { expr: result.expr, reader, shape: reader.read(result.expr) };
}

/** What may be wrong with it, in the order of the text. */
export function doubts({ reader, shape }: Checked): { offset: number; message: string }[] {
  const warnings = [...reader.warnings];
  if (reader.used.size === 0) warnings.push({ offset: 0, message: 'the condition uses nothing of the message: it is always the same' });
  if (shape.type !== 'bool' && shape.type !== 'dyn') warnings.push({ offset: 0, message: `the condition is a ${shape.type}, not a bool` });
  return warnings.sort((left, right) => left.offset - right.offset);
}
