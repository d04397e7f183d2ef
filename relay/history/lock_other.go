//go:build !unix

package history

import "os"

// lockToRead locks nothing: no relay runs on this system (relay/spool), so nobody writes.
func lockToRead(*os.File) error { return nil }
