package simulate

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/test/dialogs/copiers"
)

// Profiles are the dialogues of known devices, by name.
func Profiles() ([]*Dialogue, error) {
	files, err := copiers.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var out []*Dialogue
	for _, f := range files {
		d, err := Profile(strings.TrimSuffix(f.Name(), path.Ext(f.Name())))
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Profile is one of them. The error for a name that is none lists some that are
// like it.
func Profile(name string) (*Dialogue, error) {
	text, err := copiers.Files.ReadFile(name + ".txt")
	if err == nil {
		return Parse(name, string(text))
	}
	all, err := copiers.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	maker, _, _ := strings.Cut(name, "-")
	var like []string
	for _, f := range all {
		if n := strings.TrimSuffix(f.Name(), ".txt"); maker != "" && strings.HasPrefix(n, maker) {
			like = append(like, n)
		}
	}
	if len(like) == 0 {
		return nil, fmt.Errorf("no profile %q: `printer-relay simulate --list` shows them all", name)
	}
	slices.Sort(like)
	return nil, fmt.Errorf("no profile %q: there are %s", name, strings.Join(like, ", "))
}

// Options of a simulation.
type Options struct {
	Server  string // host:port
	Values  Values
	Timeout time.Duration // of one step; 0: 30 s
	Print   func(line string)
}

// Refused is a reply of another class than the device waits for.
type Refused struct {
	Step  Step   // that was answered; its Text is the dialogue's
	Want  string // the reply that the dialogue has
	Reply string
}

// Error says what the server answered in the place of what.
func (r *Refused) Error() string {
	return fmt.Sprintf("the server answered %q where the device goes on after %q only", r.Reply, r.Want)
}

// Play plays d against a server, and prints the transcript without passwords. It
// goes on while each reply has the code that the dialogue has; a *Refused says
// where one has not.
func (d *Dialogue) Play(ctx context.Context, o Options) error {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	dialer := net.Dialer{Timeout: o.Timeout}
	conn, err := dialer.DialContext(ctx, "tcp", o.Server)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	host, _, err := net.SplitHostPort(o.Server)
	if err != nil {
		return err
	}
	p := &Player{Values: o.Values, Name: host, Timeout: o.Timeout}
	if net.ParseIP(host) != nil {
		p.Name = ""
	}
	p.Start(conn)
	defer p.Close() //nolint:errcheck // what was said is said
	return d.play(ctx, p, o.Print)
}

func (d *Dialogue) play(ctx context.Context, p *Player, say func(string)) error {
	var asked Step
	for i := 0; i < len(d.Steps); i++ {
		s := d.Steps[i]
		if s.Kind != Expect {
			asked = s
			say(d.shown(p, s))
			if err := p.Do(ctx, s, &d.TLS); err != nil {
				return fmt.Errorf("%s: %w", d.shown(p, s), err)
			}
			if s.Kind == Handshake {
				say("   " + p.agreed())
			}
			continue
		}
		for i+1 < len(d.Steps) && d.Steps[i+1].Kind == Expect && continues(d.Steps[i].Text) { // its own lines; the server has others
			i++
		}
		want := d.Steps[i].Text
		got, err := p.reply(say)
		if err != nil {
			return err
		}
		if class(want) != class(got) {
			return &Refused{Step: asked, Want: want, Reply: got}
		}
	}
	return nil
}

// reply reads a reply whole and gives its last line.
func (p *Player) reply(say func(string)) (string, error) {
	for {
		line, err := p.Read()
		if err != nil {
			return "", err
		}
		say("S: " + line)
		if !continues(line) {
			return line, nil
		}
	}
}

// continues tells whether more lines of a reply follow (RFC 5321 4.2.1).
func continues(line string) bool { return len(line) > 3 && line[3] == '-' }

// class is what a device looks at: the code's first digit, or that the connection
// is closed; 334 asks for more.
func class(line string) string {
	switch {
	case line == Closed:
		return line
	case strings.HasPrefix(line, "334"):
		return "334"
	case line == "":
		return ""
	}
	return line[:1]
}

func (d *Dialogue) shown(p *Player, s Step) string {
	switch {
	case s.Kind == Handshake:
		return "C: (TLS handshake)"
	case s.Kind == End:
		return "C: (sends no more)"
	case secret(s):
		return "C: " + variable.ReplaceAllString(s.Text, "***")
	case s.Kind == SendRaw:
		return fmt.Sprintf("C: %q", p.expand(s.Text))
	}
	return "C: " + p.expand(s.Text)
}
