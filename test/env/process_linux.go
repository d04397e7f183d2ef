package env

import "syscall"

// ownGroup makes a process the leader of a session and group, and ends it with the test
// binary even where that is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
}
