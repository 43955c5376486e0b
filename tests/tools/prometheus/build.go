//go:build build

// Package build names what is built: Prometheus's own command, by the release that go.mod requires.
package build

import _ "github.com/prometheus/prometheus/cmd/prometheus"
