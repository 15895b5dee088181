/** The report: one script that is both the page and, started again without a document, the worker that verifies its data. */
import { start } from './app.tsx';
import { reportBackend, takeTexts } from './report-backend.ts';
import { serveReport } from './report-worker.ts';

if (typeof document === 'undefined') serveReport(globalThis);
else {
  const script = document.currentScript?.textContent ?? '';
  // the data stands behind this script, so that the page is there before all of it is read
  const texts = new Promise<ReturnType<typeof takeTexts>>((resolve) => {
    if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', () => resolve(takeTexts(document)), { once: true });
    else resolve(takeTexts(document));
  });
  start(reportBackend(script, texts), document.querySelector('#app')!);
}
