package apiserver

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// User gives the configuration of a user with a client certificate, who may do
// only what is bound to the name or to one of the groups.
func (s *Server) User(t testing.TB, name string, groups ...string) *rest.Config {
	t.Helper()
	u, err := s.environment.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1, Burst: -1})
	if err != nil {
		t.Fatal(err)
	}
	return u.Config()
}

// ServiceAccount gives the configuration of a ServiceAccount with a token that
// the server issued. Account and namespace are made where they are missing.
func (s *Server) ServiceAccount(t testing.TB, namespace, name string) *rest.Config {
	t.Helper()
	ctx := Context(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, obj := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, account} {
		if err := s.Client.Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	token := &authenticationv1.TokenRequest{}
	if err := s.Client.SubResource("token").Create(ctx, account, token); err != nil {
		t.Fatal(err)
	}
	cfg := rest.AnonymousClientConfig(s.Config)
	cfg.QPS, cfg.Burst = -1, -1
	cfg.BearerToken = token.Status.Token
	return cfg
}

// Kubeconfig writes a kubeconfig file for cfg and returns its path.
func Kubeconfig(t testing.TB, cfg *rest.Config) string {
	t.Helper()
	const name = "test"
	k := clientcmdapi.NewConfig()
	k.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}
	k.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	k.CurrentContext = name
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Kubectl runs kubectl with a file that Kubeconfig wrote, and returns what it
// printed and whether it exited with 0.
func (s *Server) Kubectl(t testing.TB, kubeconfig string, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	args = append([]string{"--kubeconfig", kubeconfig, "--cache-dir", filepath.Join(s.dir, "kubectl")}, args...)
	cmd := exec.CommandContext(Context(t), filepath.Join(s.Bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG=", "HOME="+s.dir)
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("kubectl %q: %v\n%s", args, err, errs.String())
	}
	return out.String(), errs.String(), err == nil
}
