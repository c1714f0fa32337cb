// Package browsertest has tests in a real browser. What cookies, redirects, policies,
// tabs and the back button do there, no test with an HTTP client shows. TestPages looks at
// every page that the package shows to a person. The package is a module of its own, so that nobody
// who imports authagent downloads a browser's driver.
package browsertest
