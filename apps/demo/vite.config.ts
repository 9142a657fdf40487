import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: {
    target: 'es2023',
    // TensorFlow.js is a large file.
    chunkSizeWarningLimit: 4000,
    rolldownOptions: {
      // Modules of the trainer that write files are unused and are tree-shaken.
      external: [/^node:/],
    },
  },
});
