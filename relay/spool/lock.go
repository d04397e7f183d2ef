package spool

import "errors"

// ErrLocked says that another process has the folder open.
var ErrLocked = errors.New("another process uses this folder")
