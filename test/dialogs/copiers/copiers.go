// Package copiers holds the dialogues of known devices, one file each: how they
// greet, log in and write a message. test/dialogs plays them against our listener,
// and `printer-relay simulate` against any. README.md of test/dialogs says how a
// file is written.
//
// It imports the standard library only.
package copiers

import "embed"

// Files are NAME.txt for each profile.
//
//go:embed *.txt
var Files embed.FS
