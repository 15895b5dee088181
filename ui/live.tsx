/** The live dashboard, as `sworn serve` serves it. */
import { start } from './app.tsx';
import { HttpBackend } from './http-backend.ts';

start(new HttpBackend(), document.querySelector('#app')!);
