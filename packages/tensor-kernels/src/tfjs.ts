/**
 * What `@tensorflow/tfjs` adds to its core and this project needs: gradients, methods of tensors (`x.add(y)`), and the
 * `cpu` backend. Without its layers, converter, data and WebGL, which are 200 MB installed.
 *
 * Bundlers take this module. Node takes `tfjs.node.js`, which `bundle-tfjs.mjs` makes of it: the core's files are ES modules
 * that Node refuses, and its one file for Node has neither gradients nor methods. Engine and registries are the process's
 * own, so it does not matter which part of TensorFlow.js comes first, or whether a program imports all of it.
 */
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-backend-cpu';
