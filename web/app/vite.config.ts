import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const SERVER = 'http://127.0.0.1:8080';
/** A browser's navigation gets the page from Vite, everything else the answer from `local`. */
const functions = {
  target: SERVER,
  bypass: (request: { headers: { accept?: string }; url?: string }) =>
    request.headers.accept?.includes('text/html') ? '/index.html' : undefined,
};

export default defineConfig({
  plugins: [svelte()],
  // The content security policy allows no inline scripts, and so no inlined modules.
  build: { target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: {
    proxy: {
      '^/(user|login|logout|room|file|openapi.json)': functions,
      '/socket.io': { target: SERVER, ws: true },
    },
  },
});
