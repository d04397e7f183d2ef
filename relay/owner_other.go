//go:build !linux

package relay

// sameOwner refuses nothing: releases are built for Linux.
func sameOwner(string, int) error { return nil }
