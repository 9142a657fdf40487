/** The page: one state, drawn anew in the frame after it has changed. */
import { initCharts, redrawCharts } from './charts.ts';
import { connect, listenToSelected } from './connection.ts';
import { updateDifferences } from './differences.ts';
import { initHeader, updateHeader } from './header.ts';
import { updateMasks } from './masks.ts';
import { initRunList, updateRunList } from './run-list.ts';
import { updateSamples } from './samples.ts';
import { recall } from './state.ts';

let isScheduled = false;

recall();
initHeader();
initCharts();
initRunList(changed);
connect(changed);
// For what only time changes.
setInterval(() => {
  updateHeader();
  updateRunList();
}, 1000);
changed();

function changed(): void {
  if (isScheduled) return;
  isScheduled = true;
  // Not a frame: a hidden tab has none, and its list must be ready when it is looked at.
  setTimeout(() => {
    isScheduled = false;
    listenToSelected(changed);
    updateHeader();
    updateRunList();
    redrawCharts();
    void updateMasks();
    void updateSamples();
    void updateDifferences();
  }, 50);
}
