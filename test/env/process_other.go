//go:build unix && !linux

package env

import "syscall"

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
