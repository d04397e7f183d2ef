// Package apiserver gives tests a real kube-apiserver on a real etcd, with the
// CRDs of config/crd. There is one for each test binary: it starts with the first
// test that asks for it, and is gone with the binary, even where that is killed.
//
//	func TestMain(m *testing.M) { apiserver.Main(m) }
//
//	func TestX(t *testing.T) {
//		s := apiserver.Start(t)
//		ns := s.Namespace(t)
//		...
//	}
//
// No controller of Kubernetes runs beside it: nothing makes Pods of a Deployment,
// nothing collects what an owner leaves, and a deleted namespace stays Terminating.
// Only tests import it; it imports test/env, config/crd, the kinds and what talks
// to an API server.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/test/env"
)

// Scheme knows what tests talk about: Kubernetes' own kinds, ours, and
// CustomResourceDefinitions.
var Scheme = func() *k8sruntime.Scheme {
	s := k8sruntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// Server is a running API server. Tests share it, each in namespaces of its own.
type Server struct {
	// Config is that of an administrator (system:masters), without a limit on
	// requests. Copy it before a change.
	Config *rest.Config
	// Client is the administrator's: it reads from the server, not from a cache.
	Client client.Client
	// Bin is the folder of kube-apiserver, etcd and kubectl.
	Bin string

	environment *envtest.Environment
	dir         string // of the wrappers and of kubectl's cache

	again map[string]*restarted // by name
}

// one is the server of this test binary.
var one struct {
	sync.Mutex
	main    bool // Main runs
	server  *Server
	err     error
	release chan struct{} // closed to stop it
	stopped chan struct{}
	work    chan func() // run by the thread that started it
}

// Main is for TestMain: it runs the tests, and stops the server if one of them
// started it.
func Main(m *testing.M) {
	one.main = true
	code := m.Run()
	if one.release != nil {
		close(one.release)
		<-one.stopped
	}
	os.Exit(code)
}

// Start gives the server of this test binary. The first call starts it, and
// builds it where the machine has none yet.
func Start(t testing.TB) *Server {
	t.Helper()
	one.Lock()
	defer one.Unlock()
	switch {
	case !one.main:
		t.Fatal("the package's TestMain must call apiserver.Main, which stops the server")
	case one.err != nil:
		t.Fatalf("the API server did not start for a test before this: %v", one.err)
	case one.server == nil:
		bin, err := binaries(t)
		if err == nil {
			root := env.Root(t)
			one.server, err = start(bin, filepath.Join(root, "config/crd/bases"))
		}
		if one.err = err; err != nil {
			t.Fatal(err)
		}
	}
	return one.server
}

// start runs a server until one.release is closed. It is started by a thread
// that stays for as long: on Linux the end of that thread is the end of the
// programs.
func start(bin, crds string) (*Server, error) {
	one.release, one.stopped, one.work = make(chan struct{}), make(chan struct{}), make(chan func())
	type result struct {
		server *Server
		err    error
	}
	started := make(chan result)
	go func() {
		defer close(one.stopped)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		s, err := startOnce(bin, crds)
		for try := 1; err != nil && try < 3; try++ { // a port may have been taken meanwhile
			fmt.Fprintf(os.Stderr, "the API server did not start, and is tried again: %v\n", err)
			s, err = startOnce(bin, crds)
		}
		started <- result{s, err}
		if err != nil {
			return
		}
		for open := true; open; {
			select {
			case f := <-one.work:
				f()
			case <-one.release:
				open = false
			}
		}
		if err := s.stop(); err != nil {
			fmt.Fprintf(os.Stderr, "the API server did not stop as it should: %v\n", err)
		}
	}()
	r := <-started
	return r.server, r.err
}

func startOnce(bin, crds string) (s *Server, err error) {
	dir, err := os.MkdirTemp("", "pr-apiserver") //nolint:usetesting // it outlives the test
	if err != nil {
		return nil, err
	}
	s = &Server{Bin: bin, dir: dir, environment: &envtest.Environment{
		Scheme:                   Scheme,
		CRDDirectoryPaths:        []string{crds},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: env.Wait,
		ControlPlaneStopTimeout:  env.Wait,
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := s.wrap(); err != nil {
		return nil, err
	}
	s.environment.CRDInstallOptions.MaxTime = env.Wait
	if s.Config, err = s.environment.Start(); err != nil {
		return nil, err
	}
	s.Config.QPS, s.Config.Burst = -1, -1
	s.Client, err = client.New(s.Config, client.Options{Scheme: Scheme})
	return s, err
}

// wrap names the programs to envtest, and has them end with this process.
func (s *Server) wrap() error {
	plane := &s.environment.ControlPlane
	plane.KubectlPath = filepath.Join(s.Bin, "kubectl")
	plane.Etcd = &envtest.Etcd{}
	// Room for thousands of Services: envtest's own range has 254 addresses. Nobody
	// listens at any of them.
	plane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16").Set("service-node-port-range", "20000-60000")
	for name, path := range map[string]*string{
		"etcd":           &plane.Etcd.Path,
		"kube-apiserver": &plane.GetAPIServer().Path,
	} {
		var err error
		if *path, err = wrapper(s.dir, filepath.Join(s.Bin, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) stop() error {
	return errors.Join(s.end("kube-apiserver"), s.end("etcd"), s.environment.Stop(), os.RemoveAll(s.dir))
}

// Namespace makes a namespace of the test's own. It stays until the server
// ends, and so does what is in it: a test that starts a controller stops it.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-" + name[:min(len(name), 40)] + "-"}}
	if err := s.Client.Create(Context(t), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// Context is the test's, with the bound that every wait has.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*env.Wait)
	t.Cleanup(cancel)
	return ctx
}

// late is how long before the end of go test's time a build is given up.
const late = 20 * time.Second
