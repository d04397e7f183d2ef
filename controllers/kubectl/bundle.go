package kubectl

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
)

// Bounds of one part of a bundle.
const (
	maxLog  = 4 << 20
	maxPart = 16 << 20
)

func (f *flags) bundle(version string) *cobra.Command {
	var file string
	var plain bool
	c := &cobra.Command{
		Use: "support-bundle", Args: cobra.NoArgs, Short: "One file with what somebody needs to help: kinds, status, events, logs, states, metrics; redacted",
		Long: `Writes a .tar.gz about the namespace. It reads no Secret, and takes what looks like
a credential out of all that it writes. Mail addresses and IP addresses of people
and devices are replaced, each by the same stand-in wherever it comes up;
--include-addresses leaves them. What could not be read is listed in errors.txt.
Look through it before you give it away.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect()
			if err != nil {
				return err
			}
			if file == "" {
				file = "printer-relay-" + c.namespace + "-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			}
			out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			p := newProgress(cmd.ErrOrStderr())
			err = errors.Join(c.bundleTo(cmd.Context(), out, version, newRedactor(!plain), p), out.Close())
			p.done()
			if err != nil {
				return errors.Join(err, os.Remove(file))
			}
			fmt.Fprintln(cmd.OutOrStdout(), file)
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "where to write it (default printer-relay-NAMESPACE-TIME.tar.gz); it must not be there yet")
	c.Flags().BoolVar(&plain, "include-addresses", false, "leave mail and IP addresses as they are")
	return c
}

// bundle is one that is being written.
type bundle struct {
	tar    *tar.Writer
	redact *redactor
	now    time.Time
	failed []string
}

// add writes a text, redacted.
func (b *bundle) add(name string, content []byte) error {
	return b.write(name, b.redact.bytes(content))
}

func (b *bundle) write(name string, content []byte) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: "printer-relay/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: b.now}); err != nil {
		return err
	}
	_, err := b.tar.Write(content)
	return err
}

// object writes one as YAML, redacted value by value, without what is of no use.
func (b *bundle) object(name string, v any) error {
	j, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(j, &plain); err != nil {
		return err
	}
	y, err := yaml.Marshal(b.redact.value("", plain))
	if err != nil {
		return err
	}
	return b.write(name, y)
}

func (b *bundle) miss(what string, err error) {
	b.failed = append(b.failed, what+": "+err.Error())
}

func (c *cluster) bundleTo(ctx context.Context, w io.Writer, version string, r *redactor, p *progress) error {
	z := gzip.NewWriter(w)
	b := &bundle{tar: tar.NewWriter(z), redact: r, now: time.Now()}
	server := "unknown"
	if v, err := c.typed.Discovery().ServerVersion(); err == nil {
		server = v.GitVersion
	}
	err := b.add("version.txt", fmt.Appendf(nil, "plugin %s\ncluster %s\nnamespace %s\nmade %s\naddresses replaced: %t\n", version, server, c.namespace, b.now.UTC().Format(time.RFC3339), r.addresses))
	for _, part := range []struct {
		what string
		do   func(context.Context, *bundle) error
	}{{"kinds", c.bundleKinds}, {"workloads", c.bundleObjects}, {"logs", c.bundleLogs}, {"states", c.bundleStates}} {
		p.say("%s ...", part.what)
		if err == nil {
			err = part.do(ctx, b)
		}
	}
	if err == nil && len(b.failed) > 0 {
		text := ""
		for _, f := range b.failed {
			text += f + "\n"
		}
		err = b.add("errors.txt", []byte(text))
	}
	return errors.Join(err, b.tar.Close(), z.Close())
}

func (c *cluster) bundleKinds(ctx context.Context, b *bundle) error {
	for name, l := range map[string]client.ObjectList{"printerrelays": &v1alpha1.PrinterRelayList{}, "mailupstreams": &v1alpha1.MailUpstreamList{}, "senderpolicies": &v1alpha1.SenderPolicyList{}} {
		if err := c.client.List(ctx, l, client.InNamespace(c.namespace)); err != nil {
			b.miss(name, err)
			continue
		}
		if err := b.object("kinds/"+name+".yaml", l); err != nil {
			return err
		}
	}
	return nil
}

// ours selects what the operator made.
var ours = labels.SelectorFromSet(labels.Set{render.LabelManagedBy: render.ProgramName}).String()

func (c *cluster) bundleObjects(ctx context.Context, b *bundle) error {
	o := metav1.ListOptions{LabelSelector: ours}
	for name, list := range map[string]func() (any, error){
		"configmaps":      func() (any, error) { return c.typed.CoreV1().ConfigMaps(c.namespace).List(ctx, o) },
		"services":        func() (any, error) { return c.typed.CoreV1().Services(c.namespace).List(ctx, o) },
		"pods":            func() (any, error) { return c.typed.CoreV1().Pods(c.namespace).List(ctx, o) },
		"volumes":         func() (any, error) { return c.typed.CoreV1().PersistentVolumeClaims(c.namespace).List(ctx, o) },
		"deployments":     func() (any, error) { return c.typed.AppsV1().Deployments(c.namespace).List(ctx, o) },
		"networkpolicies": func() (any, error) { return c.typed.NetworkingV1().NetworkPolicies(c.namespace).List(ctx, o) },
		"events":          func() (any, error) { return c.typed.CoreV1().Events(c.namespace).List(ctx, metav1.ListOptions{}) },
	} {
		v, err := list()
		if err != nil {
			b.miss(name, err)
			continue
		}
		if err := b.object("objects/"+name+".yaml", v); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) bundleLogs(ctx context.Context, b *bundle) error {
	pods, err := c.typed.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{render.LabelName: render.ProgramName}).String()})
	if err != nil {
		b.miss("logs", err)
		return nil
	}
	for i := range pods.Items {
		for _, before := range []bool{false, true} {
			name := "logs/" + pods.Items[i].Name + ".log"
			if before {
				name = "logs/" + pods.Items[i].Name + ".before.log"
			}
			most := int64(maxLog)
			body, err := c.typed.CoreV1().Pods(c.namespace).GetLogs(pods.Items[i].Name, &corev1.PodLogOptions{LimitBytes: &most, Previous: before, Timestamps: true}).DoRaw(ctx)
			if err != nil {
				if !before {
					b.miss(name, err)
				}
				continue
			}
			if err := b.add(name, body); err != nil {
				return err
			}
		}
	}
	return nil
}

// bundleStates asks the instances themselves.
func (c *cluster) bundleStates(ctx context.Context, b *bundle) error {
	var relays v1alpha1.PrinterRelayList
	if err := c.client.List(ctx, &relays, client.InNamespace(c.namespace)); err != nil {
		b.miss("states", err)
		return nil
	}
	for i := range relays.Items {
		all, err := c.instances(ctx, &relays.Items[i])
		if err != nil {
			b.miss("state of "+relays.Items[i].Name, err)
			continue
		}
		for _, in := range all {
			for file, path := range map[string]string{"state.json": "/state", "metrics.txt": "/metrics", "queue.json": "/queue?limit=1000"} {
				body, err := in.get(ctx, path)
				if err != nil {
					b.miss(in.name+path, err)
					continue
				}
				if err := b.add("instances/"+in.name+"/"+file, body); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// get asks an instance for a document as it is.
func (i *instance) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://printer-relay"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPart))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	return b, err
}
