// Package console is the web pages for the people who run relays: which there
// are and how they stand, what to type into a copier, what waits, what was
// refused and why. It reads, and changes nothing.
//
// It knows relays by their plans and by the documents of their admin ports,
// from a Source; who may see what, a Gate says. Everything that a device or a
// server said is hostile text: templates escape it, and what would not be seen or
// would turn text around is spelled out (visible).
//
// It may import relay/admin, relay/plan, relay/explain, relay/history,
// relay/inventory, relay/queue,
// relay/senderdns, relay/traffic and relay/transcript for what they tell, and
// nothing of Kubernetes.
package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// Root is the path below which the pages are.
const Root = "/console/"

// Options are what New takes. All are required but Gate and Resolver.
type Options struct {
	Source  Source
	Gate    *Gate // nil: whoever reaches the pages may see all
	Version string
	Log     *slog.Logger
	Kubectl bool // commands to copy are those of the kubectl plugin
	// Resolver is asked about a sender domain when somebody asks for it; nil: never.
	Resolver senderdns.Resolver
}

// Console is the pages.
type Console struct {
	Options
	mux    *http.ServeMux
	serve  http.Handler
	assets string // path of the style sheet and the script, which changes with them
}

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// templates are the pages, each within the layout, by the name of its file.
var templates = parse()

func parse() map[string]*template.Template {
	layout := template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html"))
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // embedded
	}
	out := map[string]*template.Template{}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".html")
		out[name] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+f.Name()))
	}
	return out
}

// New makes the pages; they are at Root, and "/" leads there.
func New(o Options) *Console {
	c := &Console{Options: o, mux: http.NewServeMux(), assets: Root + "assets/" + digest() + "/"}
	c.serve = http.NewCrossOriginProtection().Handler(c.mux) // of a page of another site no form is taken
	c.mux.Handle("GET /{$}", http.RedirectHandler(Root, http.StatusSeeOther))
	c.mux.HandleFunc("GET "+Root+"assets/{version}/{file}", c.asset)
	page := func(path string, h func(*http.Request, *view) error) {
		c.mux.HandleFunc("GET "+Root+path, func(w http.ResponseWriter, r *http.Request) { c.page(w, r, h) })
	}
	of := func(path string, h func(*http.Request, *view) error) {
		page("relays/{namespace}/{name}/"+path, c.ofRelay(h))
	}
	page("{$}", c.relays)
	of("{$}", c.relay)
	of("setup", c.setup)
	of("copiers", c.copiers)
	of("upstreams", c.upstreams)
	of("messages", c.messages)
	of("messages/{id}", c.entry)
	of("queue", c.queue)
	of("queue/{id}", c.message)
	of("sessions", c.sessions)
	of("sessions/{id}", c.transcript)
	of("why", c.why)
	if o.Gate != nil {
		o.Gate.routes(c)
	}
	c.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.page(w, r, func(*http.Request, *view) error { return errNotThere })
	})
	return c
}

// digest is of what assets hold.
func digest() string {
	h := sha256.New()
	for _, name := range []string{"console.css", "console.js"} {
		b, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			panic(err) // embedded
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// contentPolicy lets a page load its own style sheet and script, send its own forms, and
// nothing else; nobody may frame it.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	c.serve.ServeHTTP(w, r)
}

func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	b, err := staticFiles.ReadFile(path.Join("static", name))
	if err != nil {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // the path changes with it
	w.Write(b)                                                             //nolint:errcheck,gosec // the caller went away; a file of the program
}

// view is what the templates show.
type view struct {
	Title     string // of the page, the most particular first
	Page      string // name of its template
	Assets    string
	Version   string
	Now       time.Time
	Viewer    string // who is logged in; empty: nobody needs to
	CanLogOut bool
	Relay     *Relay   // that the page is about
	Tab       string   // of the relay's pages, the one that is shown
	Private   bool     // the viewer may see who sends to whom
	Silent    []string // what is missing from the page, since somebody did not answer
	Body      any

	user   *User
	status int
}

// errNotThere is an address of no page.
var errNotThere = errors.New("there is no such page")

// forbidden is what the viewer may not see, and what would let them.
type forbidden struct{ why string }

func (e forbidden) Error() string { return e.why }

// notFound is something that an instance had, or never had: what the page says of it, and
// where else to look.
type notFound struct {
	text  string
	links []link
}

func (e notFound) Error() string { return e.text }

// link leads to another page.
type link struct{ Path, Text string }

// badRequest is a form that cannot be read as it was filled in.
type badRequest struct{ error }

// pageTime bounds the making of one page: what does not answer by then is shown as
// missing.
const pageTime = 10 * time.Second

// page makes a page and writes it whole, or a page that says why there is none.
func (c *Console) page(w http.ResponseWriter, r *http.Request, h func(*http.Request, *view) error) {
	v := &view{Assets: c.assets, Version: c.Version, Now: time.Now(), status: http.StatusOK}
	if !c.admit(w, r, v) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	if err := h(r.WithContext(ctx), v); err != nil {
		c.fail(v, err)
	}
	c.write(w, v)
}

// admit finds out who asks. It answers itself where they have to log in.
func (c *Console) admit(w http.ResponseWriter, r *http.Request, v *view) bool {
	if c.Gate == nil {
		return true
	}
	user, err := c.Gate.user(r)
	if err != nil {
		c.Gate.refuse(c, w, r, err)
		return false
	}
	v.user, v.Viewer, v.CanLogOut = user, user.Name, user.session
	return true
}

// fail makes the page that says what went wrong.
func (c *Console) fail(v *view, err error) {
	v.Page = "error"
	body := struct {
		Text  string
		Links []link
	}{Text: err.Error()}
	defer func() { v.Body = body }()
	var no forbidden
	var gone notFound
	switch {
	case errors.As(err, &gone):
		v.status, v.Title, body.Links = http.StatusNotFound, "Not found", gone.links
	case errors.Is(err, errNotThere):
		v.status, v.Title = http.StatusNotFound, "Not found"
	case errors.As(err, &no):
		v.status, v.Title = http.StatusForbidden, "Not allowed"
	case errors.As(err, new(badRequest)):
		v.status, v.Title = http.StatusBadRequest, "Please check"
	default:
		v.status, v.Title = http.StatusBadGateway, "No answer"
		c.Log.Warn("a page of the console could not be made", "cause", err)
	}
}

// write writes the page, whole or not at all.
func (c *Console) write(w http.ResponseWriter, v *view) {
	var b bytes.Buffer
	if err := templates[v.Page].ExecuteTemplate(&b, "layout", v); err != nil {
		c.Log.Error("a page of the console could not be written", "page", v.Page, "cause", err)
		http.Error(w, fmt.Sprintf("The page %q could not be written; the log says why.", v.Page), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.status)
	w.Write(visible(b.Bytes())) //nolint:errcheck // the caller went away
}
