// Azurite's queue service for as long as stdin is open: it ends with the process that started it,
// however that ends. Its options are Azurite's; its packages are those of the working folder.
import { createRequire } from "node:module";

process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();

createRequire(`${process.cwd()}/`)("azurite/dist/src/queue/main.js");
