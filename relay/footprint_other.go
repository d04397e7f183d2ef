//go:build !linux

package relay

// unmapProgram does nothing: how a program's pages are given back is the
// system's own business here.
func unmapProgram() error { return nil }
