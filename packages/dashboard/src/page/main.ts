/** The entry point: redraws the page after each change of the state. */
import { initCharts, redrawCharts } from './charts.ts';
import { connect, followSelected } from './connection.ts';
import { updateDifferences } from './differences.ts';
import { initHeader, updateHeader } from './header.ts';
import { updateMasks } from './masks.ts';
import { initRunList, updateRunList } from './run-list.ts';
import { updateSamples } from './samples.ts';
import { recall } from './state.ts';
import { initStudies, updateStudies } from './studies.ts';

let isScheduled = false;

recall();
initHeader();
initCharts();
initRunList(changed);
initStudies(changed);
connect(changed);
// Durations change without events.
setInterval(() => {
  updateHeader();
  updateRunList();
}, 1000);
changed();

function changed(): void {
  if (isScheduled) return;
  isScheduled = true;
  // Not requestAnimationFrame, which hidden tabs do not run.
  setTimeout(() => {
    isScheduled = false;
    followSelected();
    updateHeader();
    updateRunList();
    updateStudies();
    redrawCharts();
    void updateMasks();
    void updateSamples();
    void updateDifferences();
  }, 50);
}
