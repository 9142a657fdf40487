/**
 * The parts of `@tensorflow/tfjs` beyond its core that this project needs: gradients, methods of tensors (`x.add(y)`) and
 * the `cpu` backend. Leaves out layers, converter, data and WebGL, which are 200 MB installed.
 *
 * Bundlers use this module. Node uses the bundle that `bundle-tfjs.mjs` makes from it: Node cannot load the ES modules
 * of the core, and its single file for Node has neither gradients nor methods. Engine and registries are global to the
 * process, so the order of imports does not matter, nor does an import of all of TensorFlow.js.
 */
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-backend-cpu';
