package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func class(name, provisioner string, mode storagev1.VolumeBindingMode, policy corev1.PersistentVolumeReclaimPolicy) storagev1.StorageClass {
	return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode, ReclaimPolicy: &policy}
}

func claim(class, node string, phase corev1.PersistentVolumeClaimPhase) corev1.PersistentVolumeClaim {
	return corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", UID: "u", Annotations: map[string]string{selectedNode: node}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
}

func TestWantedVolumes(t *testing.T) {
	classes := []storagev1.StorageClass{
		class("local", provisionerName, storagev1.VolumeBindingWaitForFirstConsumer, corev1.PersistentVolumeReclaimDelete),
		class("at-once", provisionerName, storagev1.VolumeBindingImmediate, corev1.PersistentVolumeReclaimRetain),
		class("other", "other.example", storagev1.VolumeBindingImmediate, corev1.PersistentVolumeReclaimDelete),
	}
	given := claim("local", "node1", corev1.ClaimPending)
	given.Spec.VolumeName = "by-hand"
	leaving := claim("local", "node1", corev1.ClaimPending)
	leaving.DeletionTimestamp = &metav1.Time{}
	for _, test := range []struct {
		name   string
		claim  corev1.PersistentVolumeClaim
		policy corev1.PersistentVolumeReclaimPolicy // "" wants none
	}{
		{"a Pod is scheduled", claim("local", "node1", corev1.ClaimPending), corev1.PersistentVolumeReclaimDelete},
		{"no Pod yet", claim("local", "", corev1.ClaimPending), ""},
		{"another node", claim("local", "node2", corev1.ClaimPending), ""},
		{"at once", claim("at-once", "", corev1.ClaimPending), corev1.PersistentVolumeReclaimRetain},
		{"bound", claim("local", "node1", corev1.ClaimBound), ""},
		{"lost", claim("local", "node1", corev1.ClaimLost), ""},
		{"wants a volume by name", given, ""},
		{"being deleted", leaving, ""},
		{"another's class", claim("other", "node1", corev1.ClaimPending), ""},
		{"a class that is not there", claim("absent", "node1", corev1.ClaimPending), ""},
	} {
		got := wantedVolumes(classes, []corev1.PersistentVolumeClaim{test.claim}, "node1", "/volumes")
		if test.policy == "" {
			if len(got) != 0 {
				t.Errorf("%s: a volume, want none", test.name)
			}
			continue
		}
		if len(got) != 1 {
			t.Errorf("%s: %d volumes, want one", test.name, len(got))
			continue
		}
		spec := got[0].Spec
		size := spec.Capacity[corev1.ResourceStorage]
		if spec.PersistentVolumeReclaimPolicy != test.policy || spec.Local.Path != "/volumes/pvc-u" || spec.ClaimRef.UID != "u" || size.String() != "5Gi" || spec.AccessModes[0] != corev1.ReadWriteOncePod {
			t.Errorf("%s: %+v", test.name, spec)
		}
	}
}

func TestReleased(t *testing.T) {
	volume := func(by string, phase corev1.PersistentVolumePhase, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
		return &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{provisionedBy: by}},
			Spec:       corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: policy},
			Status:     corev1.PersistentVolumeStatus{Phase: phase},
		}
	}
	remove, keep := corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRetain
	leaving := volume(provisionerName, corev1.VolumeReleased, remove)
	leaving.DeletionTimestamp = &metav1.Time{}
	for _, test := range []struct {
		name   string
		volume *corev1.PersistentVolume
		want   bool
	}{
		{"claim gone", volume(provisionerName, corev1.VolumeReleased, remove), true},
		{"to be kept", volume(provisionerName, corev1.VolumeReleased, keep), false},
		{"in use", volume(provisionerName, corev1.VolumeBound, remove), false},
		{"not bound yet", volume(provisionerName, corev1.VolumeAvailable, remove), false},
		{"another's", volume("other.example", corev1.VolumeReleased, remove), false},
		{"being deleted", leaving, false},
	} {
		if got := released(test.volume); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
