package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
)

// How often the cluster is asked what all relays depend on, unless Options say
// otherwise, and for how long.
const (
	lookEvery = 30 * time.Second
	lookTime  = 10 * time.Second
)

// surroundings are what all relays' objects follow from besides the kinds: the
// issuer of ServiceAccount tokens and its keys, which rotate, and whether
// cert-manager is there, which may be installed later.
type surroundings struct {
	api    rest.Interface
	mapper meta.RESTMapper
	log    *slog.Logger
	every  time.Duration
	base   render.Settings

	now     atomic.Pointer[render.Settings]
	changed func(context.Context) // all relays are to be looked at again
}

// settings as they are now. look has succeeded once before.
func (s *surroundings) settings() render.Settings { return *s.now.Load() }

// Start looks again until ctx ends. It implements manager.Runnable.
func (s *surroundings) Start(ctx context.Context) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		changed, err := s.look(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the cluster's issuer keys could not be read again; those of before are used", "cause", err)
		}
		if changed {
			s.log.Info("the issuer's keys or cert-manager changed: all relays are looked at again")
			s.changed(ctx)
		}
	}
}

// look asks the cluster and tells whether something changed.
func (s *surroundings) look(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	next := s.base
	var err error
	if next.Issuer, next.Keys, err = s.issuer(ctx); err != nil {
		return false, err
	}
	if next.CertManager, err = s.certManager(); err != nil {
		return false, err
	}
	old := s.now.Swap(&next)
	return old == nil || old.Issuer != next.Issuer || !bytes.Equal(old.Keys, next.Keys) || old.CertManager != next.CertManager, nil
}

// issuer gives the issuer of ServiceAccount tokens and its JSON Web Key Set
// (OpenID Connect Discovery 1.0, 4).
func (s *surroundings) issuer(ctx context.Context) (string, json.RawMessage, error) {
	const remedy = "bind the ClusterRole system:service-account-issuer-discovery to the operator's ServiceAccount"
	b, err := s.api.Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("/.well-known/openid-configuration: %w; %s", err, remedy)
	}
	var about struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(b, &about); err != nil {
		return "", nil, fmt.Errorf("/.well-known/openid-configuration: %w", err)
	}
	keys, err := s.api.Get().AbsPath("/openid/v1/jwks").SetHeader("Accept", "application/jwk-set+json").DoRaw(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("/openid/v1/jwks: %w; %s", err, remedy)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, keys); err != nil {
		return "", nil, fmt.Errorf("/openid/v1/jwks: %w", err)
	}
	return about.Issuer, compact.Bytes(), nil
}

func (s *surroundings) certManager() (bool, error) {
	_, err := s.mapper.RESTMapping(certificateKind.GroupKind(), certificateKind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("kinds of the API server: %w", err)
	}
	return true, nil
}

// certificateKind is cert-manager's.
var certificateKind = schema.FromAPIVersionAndKind(render.CertificateAPIVersion, render.CertificateKind)

// first looks until it succeeds or ctx ends.
func (s *surroundings) first(ctx context.Context) error {
	return insist(ctx, s.log, func() error { _, err := s.look(ctx); return err })
}

// kindsServed waits until the API server serves our kinds. Without them no manager
// can be made, and the operator would end again and again.
func kindsServed(ctx context.Context, cfg *rest.Config, log *slog.Logger) error {
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(cfg, client)
	if err != nil {
		return err
	}
	return insist(ctx, log, func() error {
		for _, kind := range []string{"PrinterRelay", "MailUpstream", "SenderPolicy"} {
			gvk := v1alpha1.GroupVersion.WithKind(kind)
			if _, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version); meta.IsNoMatchError(err) {
				return fmt.Errorf("kind %s of %s is not served: apply the CustomResourceDefinitions of this release (config/crd, or crds.install of the chart)", kind, v1alpha1.GroupVersion)
			} else if err != nil {
				return fmt.Errorf("kinds of the API server: %w", err)
			}
		}
		return nil
	})
}

// insist does what the operator cannot begin without, once a second until it
// succeeds or ctx ends.
func insist(ctx context.Context, log *slog.Logger, do func() error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := do()
		if err == nil {
			return nil
		}
		log.Error("the operator cannot begin yet", "cause", err)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
