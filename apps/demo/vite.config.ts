import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: {
    target: 'es2023',
    // TensorFlow.js is one large file.
    chunkSizeWarningLimit: 4000,
    rolldownOptions: {
      // Parts of the trainer that write files are not used here and drop out with their imports.
      external: [/^node:/],
    },
  },
});
