// Package browsertest has tests of the shop in a real browser: what cookies,
// redirects, policies, tabs and the back button do there, no test with an HTTP
// client shows. It is a module of its own, so that nobody who imports authagent
// downloads a browser's driver.
package browsertest
