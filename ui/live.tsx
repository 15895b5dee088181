/** The live dashboard, as `sworn serve` serves it. */
import { start } from './app.tsx';
import { HttpBackend } from './http-backend.ts';
import { approvalsView } from './views/approvals.tsx';

const backend = new HttpBackend();
start(backend, document.querySelector('#app')!, [approvalsView(backend)]);
