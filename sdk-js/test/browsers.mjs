// Which browser the tests drive.
import { chromium } from "playwright-core";

export const launch = (options) => chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true, ...options });
