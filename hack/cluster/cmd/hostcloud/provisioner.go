package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// What StorageClasses name, and the annotations that the volume controller, the
// scheduler and provisioners share.
const (
	provisionerName = "printerrelay.dev/hostcloud"

	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

type provisioner struct {
	client       kubernetes.Interface
	node, folder string
}

// sync makes a volume for each claim that waits for one, and removes those whose
// claim is gone, if they are to be deleted.
func (p *provisioner) sync(ctx context.Context) error {
	classes, err := p.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	claims, err := p.client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	volumes, err := p.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, volume := range wantedVolumes(classes.Items, claims.Items, p.node, p.folder) {
		errs = append(errs, p.create(ctx, volume))
	}
	for i := range volumes.Items {
		if released(&volumes.Items[i]) {
			errs = append(errs, p.remove(ctx, &volumes.Items[i]))
		}
	}
	return errors.Join(errs...)
}

// create is repeated until the claim is bound: what is there already is fine.
func (p *provisioner) create(ctx context.Context, volume *corev1.PersistentVolume) error {
	path := volume.Spec.Local.Path
	//nolint:gosec // the root of a new volume, as drivers make it: fsGroup does the rest
	if err := os.Mkdir(path, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	log.Printf("PersistentVolumeClaim %s/%s: %s", volume.Spec.ClaimRef.Namespace, volume.Spec.ClaimRef.Name, path)
	return nil
}

// remove takes the data first: a volume that is gone would leave it behind.
func (p *provisioner) remove(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.Spec.Local == nil || filepath.Dir(volume.Spec.Local.Path) != filepath.Clean(p.folder) {
		return fmt.Errorf("PersistentVolume %s: is not in %s: delete it by hand", volume.Name, p.folder)
	}
	if err := os.RemoveAll(volume.Spec.Local.Path); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	log.Printf("PersistentVolume %s: removed", volume.Name)
	return nil
}

// wantedVolumes returns a volume for each claim of our classes that waits for one
// on node. Its name follows from the claim, so that no claim gets two.
func wantedVolumes(classes []storagev1.StorageClass, claims []corev1.PersistentVolumeClaim, node, folder string) []*corev1.PersistentVolume {
	ours := map[string]*storagev1.StorageClass{}
	for i := range classes {
		if classes[i].Provisioner == provisionerName {
			ours[classes[i].Name] = &classes[i]
		}
	}
	var wanted []*corev1.PersistentVolume
	for i := range claims {
		claim := &claims[i]
		if claim.Spec.StorageClassName == nil || ours[*claim.Spec.StorageClassName] == nil {
			continue
		}
		class := ours[*claim.Spec.StorageClassName]
		waits := claim.Status.Phase == corev1.ClaimPending && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil
		later := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
		if waits && (!later || claim.Annotations[selectedNode] == node) {
			wanted = append(wanted, volumeFor(class, claim, node, folder))
		}
	}
	return wanted
}

func volumeFor(class *storagev1.StorageClass, claim *corev1.PersistentVolumeClaim, node, folder string) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	policy := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeReclaimPolicy: policy,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: filepath.Join(folder, name)}},
			StorageClassName:              class.Name,
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
			}}}},
		},
	}
}

// released tells whether a volume is ours, its claim gone, and its data to go too.
func released(volume *corev1.PersistentVolume) bool {
	return volume.Annotations[provisionedBy] == provisionerName &&
		volume.Status.Phase == corev1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete &&
		volume.DeletionTimestamp == nil
}
