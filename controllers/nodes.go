package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// settleNodes is how long nodes may go on changing before relays are looked at:
// a pool that grows brings many at once.
const settleNodes = 10 * time.Second

// nodes know the addresses that are the cluster's own: those that Nodes have and
// give to Pods, and networks that the command line names. Who comes from one may be
// anybody. Nodes are read only where the operator has the right to.
type nodes struct {
	live     client.Reader // not cached
	cache    cache.Cache
	declared []netip.Prefix
	every    time.Duration // between two tries to read Nodes without the right to
	settle   time.Duration
	log      *slog.Logger
	changed  func(ctx context.Context, before, now clusterView)

	dirty chan struct{}

	mu      sync.Mutex
	watched bool
	now     *clusterView // nil: not worked out yet
}

// clusterView is what is known of the cluster's own addresses.
type clusterView struct {
	networks []netip.Prefix // as plan.Networks gives them
	nodes    bool           // Nodes are among them
}

// owns tells whether the cluster is known to have an address.
func (v *clusterView) owns(a netip.Addr) bool {
	return (&plan.HiddenClients{Networks: v.networks}).Hides(a)
}

// first finds out whether Nodes can be read, until that is known or ctx ends.
// Reconcilers begin after it: none may take nodes' addresses out of a relay's
// configuration only because they are not read yet.
func (n *nodes) first(ctx context.Context) error {
	return insist(ctx, n.log, func() error { _, err := n.watch(ctx); return err })
}

// watch begins to watch Nodes, if the operator may, and tells whether it has just
// begun.
func (n *nodes) watch(ctx context.Context) (bool, error) {
	n.mu.Lock()
	watched := n.watched
	n.mu.Unlock()
	if watched {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err := n.live.List(ctx, &corev1.NodeList{}, client.Limit(1))
	if apierrors.IsForbidden(err) {
		return false, nil // status says so
	}
	if err != nil {
		return false, fmt.Errorf("nodes: %w", err)
	}
	informer, err := n.cache.GetInformer(ctx, &corev1.Node{}, cache.BlockUntilSynced(false))
	if err != nil {
		return false, fmt.Errorf("nodes: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.stir() },
		DeleteFunc: func(any) { n.stir() },
		UpdateFunc: func(old, now any) {
			a, ok := old.(*corev1.Node)
			b, is := now.(*corev1.Node)
			if !ok || !is || !slices.Equal(networksOf(a), networksOf(b)) {
				n.stir()
			}
		},
	})
	if err != nil {
		return false, fmt.Errorf("nodes: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched = true
	return true, nil
}

// stir says that there is something new.
func (n *nodes) stir() {
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// Start follows the nodes until ctx ends. It implements manager.Runnable.
func (n *nodes) Start(ctx context.Context) error {
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			began, err := n.watch(ctx)
			if err != nil && ctx.Err() == nil {
				n.log.Warn("Nodes cannot be read: clients that come from them are not told from others", "cause", err)
			}
			if !began {
				continue
			}
		case <-n.dirty:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(n.settle):
			}
			select { // what came meanwhile is read now
			case <-n.dirty:
			default:
			}
		}
		if err := n.refresh(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("Nodes could not be read again; those of before are used", "cause", err)
		}
	}
}

// refresh reads the nodes and has relays looked at for which something is new.
func (n *nodes) refresh(ctx context.Context) error {
	before, err := n.view(ctx)
	if err != nil {
		return err
	}
	now, err := n.read(ctx)
	if err != nil {
		return err
	}
	if before.nodes == now.nodes && slices.Equal(before.networks, now.networks) {
		return nil
	}
	n.mu.Lock()
	n.now = &now
	n.mu.Unlock()
	n.log.Info("the cluster's own addresses changed", "networks", len(now.networks))
	n.changed(ctx, before, now)
	return nil
}

// view is what is known. The first time it waits until the cache has the Nodes.
func (n *nodes) view(ctx context.Context) (clusterView, error) {
	n.mu.Lock()
	now := n.now
	n.mu.Unlock()
	if now != nil {
		return *now, nil
	}
	v, err := n.read(ctx)
	if err != nil {
		return v, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.now == nil {
		n.now = &v
	}
	return *n.now, nil
}

func (n *nodes) read(ctx context.Context) (clusterView, error) {
	n.mu.Lock()
	out := clusterView{nodes: n.watched}
	n.mu.Unlock()
	all := slices.Clone(n.declared)
	if out.nodes {
		var list corev1.NodeList
		if err := n.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
			return out, fmt.Errorf("nodes: %w", err)
		}
		for i := range list.Items {
			all = append(all, networksOf(&list.Items[i])...)
		}
	}
	out.networks = plan.Networks(all)
	return out, nil
}

// networksOf are the addresses of a node and of the Pods on it.
func networksOf(node *corev1.Node) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			ip = ip.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
		}
	}
	for _, c := range append([]string{node.Spec.PodCIDR}, node.Spec.PodCIDRs...) {
		if n, err := netip.ParsePrefix(c); err == nil {
			out = append(out, n.Masked())
		}
	}
	return plan.Networks(out)
}

// stripNode keeps what networksOf reads.
func stripNode(n *corev1.Node) {
	n.Labels, n.Annotations, n.ManagedFields, n.OwnerReferences = nil, nil, nil, nil
	n.Spec = corev1.NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs}
	n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses}
}

// declaredNetworks reads those of the command line.
func declaredNetworks(in []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range in {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--cluster-networks %q: want a network, such as 10.244.0.0/16", s)
		}
		out = append(out, n.Masked())
	}
	return plan.Networks(out), nil
}
