package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlags are those of the commands that run on and log.
type logFlags struct {
	format, level string
}

func (l *logFlags) add(c *cobra.Command, format string) {
	f := c.Flags()
	f.StringVar(&l.format, "log-format", format, "text or json")
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
}

// logger writes to w as the flags say.
func (l *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", l.level)}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q: want text or json", l.format)}
}
