// Hostcloud plays the cloud of the test cluster, as a load balancer's controller
// and a volume provisioner would: a LoadBalancer Service without a class gets an
// address (kube-proxy on the node does the rest), and a PersistentVolumeClaim of
// its provisioner's StorageClasses a folder of the node. May import client-go.
//
// It looks twice a second instead of watching: there is nothing to miss when the
// API server is restarted under it, and the cluster has one node.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const interval = 500 * time.Millisecond

func main() {
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal("hostcloud: ", err)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hostcloud", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "`FILE` with the way to the API server")
	prefix := flags.String("addresses", "172.31.255.0/24", "`PREFIX` of the load balancers' addresses")
	node := flags.String("node", "", "`NAME` of the node")
	folder := flags.String("volumes", "", "`FOLDER` of the node to make volumes in")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addresses, err := netip.ParsePrefix(*prefix)
	if err != nil {
		return fmt.Errorf("--addresses: %w", err)
	}
	if *node == "" || *folder == "" {
		return errors.New("--node and --volumes are required")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	balancer := &balancer{client: client, prefix: addresses}
	provisioner := &provisioner{client: client, node: *node, folder: *folder}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := errors.Join(balancer.sync(ctx), provisioner.sync(ctx)); err != nil && ctx.Err() == nil {
			log.Print(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
