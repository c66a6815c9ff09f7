// The script tag's entry with web vitals: the beacon's, and then the vitals.

import { api } from "./iife";
import { watchVitals } from "./vitals";

// Not where another tag was first, whose beacon would not hear of them.
if ((window as { ethogram?: unknown }).ethogram == api) watchVitals();
