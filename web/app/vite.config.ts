import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** The server that `make run` starts. */
const SERVER = 'http://127.0.0.1:8080';
/** Sends requests to the server, except navigation: for that, Vite serves the page. */
const api = {
  target: SERVER,
  bypass: (request: { headers: { accept?: string }; url?: string }) =>
    request.headers.accept?.includes('text/html') ? '/index.html' : undefined,
};

export default defineConfig({
  plugins: [svelte()],
  // The server's content security policy forbids inline scripts, so modules and assets are never inlined.
  build: { target: 'es2022', modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: {
    proxy: {
      '^/(user|login|logout|room|file|openapi.json)': api,
      '/socket.io': { target: SERVER, ws: true },
    },
  },
});
