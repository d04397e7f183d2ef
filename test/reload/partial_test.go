package reload

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// mail is the first word of the reply to MAIL on a new connection.
func mail(r *rig.Relay) string {
	c := r.Dial()
	defer c.Close()
	c.Want("250", "EHLO copier.test")
	return c.Cmd("MAIL FROM:<mfp@copier.test>")[:3]
}

func login(r *rig.Relay) string {
	c := r.Dial()
	defer c.Close()
	c.Want("250", "EHLO copier.test")
	return c.Cmd(attempt)[:3]
}

// folder is a relay whose manifests are a file each, with a neighbour that can
// be broken.
func folder(t *testing.T) (r *rig.Relay, relay string) {
	t.Helper()
	u := rig.StartUpstream(t, rig.Script{})
	all := strings.SplitN(setup{hostname: "split.test"}.yaml(), "---\n", 3)
	r = rig.Start(t, setup{upstreams: []string{u.YAML("out", "")}}.yaml())
	r.Write("upstream.yaml", u.YAML("out", ""))
	r.Write("policy.yaml", all[1])
	r.Write("logins.yaml", all[2])
	r.Write("relay.yaml", all[0])
	called(r, "split.test") // all files were read as they are now
	r.Eventually("all is well", func() bool { _, body := r.Get("/readyz"); return body == "ready\n" })
	return r, all[0]
}

// breaks puts a file there that nobody can read, and waits until that is known.
func breaks(r *rig.Relay, name string) {
	r.Write(name, "kind: [typo")
	r.Eventually(name+" is noticed", func() bool { _, body := r.Get("/readyz"); return strings.Contains(body, name+":") })
}

func remove(t *testing.T, r *rig.Relay, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(r.Manifests, name)); err != nil {
		t.Fatal(err)
	}
}

// A neighbour that cannot be read hides nothing: what was taken away is away.
func TestABrokenNeighbourKeepsNothingAlive(t *testing.T) {
	t.Run("policy", func(t *testing.T) {
		r, _ := folder(t)
		breaks(r, "other.yaml")
		remove(t, r, "policy.yaml")
		r.Eventually("no policy, no mail", func() bool { return mail(r) == "421" })
		r.Eventually("it says why", func() bool {
			_, body := r.Get("/readyz")
			return strings.Contains(body, "SenderPolicy default/office is missing")
		})
	})
	t.Run("Secret", func(t *testing.T) {
		r, _ := folder(t)
		if got := login(r); got != "235" {
			t.Fatalf("before: %s", got)
		}
		breaks(r, "other.yaml")
		remove(t, r, "logins.yaml")
		r.Eventually("no Secret, no login", func() bool { return login(r) == "504" })
	})
	t.Run("file that cannot be opened", func(t *testing.T) {
		r, _ := folder(t)
		if err := os.Symlink("nowhere", filepath.Join(r.Manifests, "other.yaml")); err != nil {
			t.Fatal(err)
		}
		r.Write("logins.yaml", strings.Replace(strings.SplitN(setup{}.yaml(), "---\n", 3)[2], "swordfish", "changed", 1))
		r.Eventually("the old password is wrong", func() bool { return login(r) == "535" })
	})
	t.Run("plan", func(t *testing.T) {
		r, relay := folder(t)
		breaks(r, "other.yaml")
		r.Write("relay.yaml", strings.Replace(relay, "split.test", "other.test", 1))
		called(r, "other.test")
	})
}

// What cannot be read, or is not valid, is not gone: it stays as it was.
func TestWhatIsBrokenStaysAsItWas(t *testing.T) {
	for file, broken := range map[string]string{
		"policy.yaml":   "apiVersion: printerrelay.dev/v1alpha1\nkind: SenderPolicy\nmetadata: {name: office}\nspec: {ruls: []}\n",
		"upstream.yaml": "kind: [typo",
		"relay.yaml":    "kind: [typo",
		"logins.yaml":   "apiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {users: [no, string]}\n",
	} {
		t.Run(file, func(t *testing.T) {
			r, _ := folder(t)
			r.Write(file, broken)
			r.Eventually("it is noticed", func() bool { _, body := r.Get("/readyz"); return strings.Contains(body, file+":") })
			_, body := r.Get("/readyz")
			if strings.Contains(body, "is not in namespace") || strings.Contains(body, "no new mail") {
				t.Errorf("what is there is called missing: %s", body)
			}
			if got := mail(r); got != "250" {
				t.Errorf("MAIL: %s", got)
			}
			if got := login(r); got != "235" {
				t.Errorf("AUTH: %s", got)
			}
		})
	}
}

// Half a Secret is none: what could be decoded of a password must not log in.
func TestHalfASecretIsNotUsed(t *testing.T) {
	r, _ := folder(t)
	// base64 of "mfp:swordfish", and then what is none; swordfish stays right
	// since the Secret stays as it was, and other never becomes a user.
	r.Write("logins.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: logins}\ndata: {other: c3dvcmRmaXNo!, users: bWZwOmNoYW5nZWQ=}\n")
	r.Eventually("it is noticed", func() bool { _, body := r.Get("/readyz"); return strings.Contains(body, "is not base64") })
	if got := login(r); got != "235" {
		t.Errorf("the login of before: %s", got)
	}
}

// One relay's fault is its own.
func TestOneRelaysFaultHoldsNoOther(t *testing.T) {
	r, relay := folder(t)
	second := rig.FreePort(t)
	other := strings.NewReplacer("{name: office}\nspec:", "{name: second}\nspec:", "{{PORT}}", fmt.Sprint(second)).Replace(relay)
	for name, bad := range map[string]string{
		"not valid":        strings.Replace(other, "hostname:", "hostnme:", 1),
		"nothing to fit":   strings.Replace(other, "senderPolicyRefs: [{name: office}]", "senderPolicyRefs: [{name: nobody}]", 1),
		"port is in use":   strings.Replace(other, fmt.Sprint(second), fmt.Sprint(r.Port), 1),
		"not YAML, at all": "kind: [typo",
	} {
		t.Run(name, func(t *testing.T) {
			r.Write("second.yaml", bad)
			r.Eventually("it is noticed", func() bool { _, body := r.Get("/readyz"); return body != "ready\n" })
			host := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", "") + ".test"
			r.Write("relay.yaml", strings.Replace(relay, "split.test", host, 1))
			called(r, host)
			r.Write("second.yaml", other)
			r.Eventually("the other runs too", func() bool { _, body := r.Get("/readyz"); return body == "ready\n" && dials(second) })
			remove(t, r, "second.yaml")
			r.Eventually("it is taken down", func() bool { return !dials(second) })
		})
	}
}

// A plan that cannot be had as a whole holds up neither a password nor the kill
// switch.
func TestAPortThatIsTakenHoldsNoRevocation(t *testing.T) {
	r, relay := folder(t)
	taken := rig.StartUpstream(t, rig.Script{}).Port
	relay = strings.Replace(relay, "  listeners:\n", fmt.Sprintf("  listeners:\n  - {name: second, port: %d, tls: {mode: None}}\n", taken), 1)
	r.Write("relay.yaml", relay)
	r.Eventually("it is noticed", func() bool { _, body := r.Get("/readyz"); return strings.Contains(body, "cannot listen") })
	r.Write("logins.yaml", strings.Replace(strings.SplitN(setup{}.yaml(), "---\n", 3)[2], "swordfish", "changed", 1))
	r.Eventually("the old password is wrong", func() bool { return login(r) == "535" })
	r.Write("relay.yaml", strings.Replace(relay, "spec:\n", "spec:\n  intake: Hold\n", 1))
	r.Eventually("mail is held", func() bool { _, state := r.Get("/state"); return strings.Contains(state, `"intake": "Hold"`) })
	r.Write("relay.yaml", strings.Replace(relay, "spec:\n", "spec:\n  intake: Refuse\n", 1))
	r.Eventually("the kill switch works", func() bool { return mail(r) == "421" })
}

// What such a plan lets go is not let go: not for a moment either, however often it
// is tried.
func TestAPortThatIsTakenLetsNothingGo(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	suspended := setup{upstreams: []string{u.YAML("out", "  suspend: true\n")}}.yaml()
	r := rig.Start(t, suspended)
	if got := send(r.Dial()); got[:3] != "250" {
		t.Fatal(got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	second := fmt.Sprintf("  listeners:\n  - {name: second, port: %d, tls: {mode: None}}\n", l.Addr().(*net.TCPAddr).Port)
	r.Write("relay.yaml", strings.Replace(strings.Replace(suspended, "  suspend: true\n", "", 1), "  listeners:\n", second, 1))
	failed := func() int {
		n, _ := strconv.Atoi(metric(r, `config_reloads_total\{relay="default/office",result="failed"\}`))
		return n
	}
	r.Eventually("it was tried again", func() bool { return failed() >= 2 })
	if n := len(u.Messages()); n > 0 {
		t.Errorf("%d messages left", n)
	}
	l.Close()
	arrived(r, u, 1)
}

// Nor does a policy that is missing, or a field elsewhere that nothing fits.
func TestWhatAFaultyRelayStopsIsStopped(t *testing.T) {
	held := func(r *rig.Relay) func() bool {
		return func() bool {
			_, metrics := r.Get("/metrics")
			return strings.Contains(metrics, `printer_relay_held_messages{hold="stolen"`)
		}
	}
	stop := "spec:\n  holds: [{name: stolen, clientNetworks: [10.20.9.66/32]}]\n"
	t.Run("missing policy", func(t *testing.T) {
		r, relay := folder(t)
		remove(t, r, "policy.yaml")
		r.Eventually("no policy, no mail", func() bool { return mail(r) == "421" })
		r.Write("relay.yaml", strings.Replace(relay, "spec:\n", stop, 1))
		r.Eventually("the hold counts", held(r))
		if got := mail(r); got != "421" {
			t.Errorf("MAIL: %s", got)
		}
	})
	t.Run("wrong value", func(t *testing.T) {
		r, relay := folder(t)
		wrong := strings.Replace(relay, "spec:\n", "spec:\n  spool: {persistentVolume: {size: 1Gi}}\n  history: {size: 900Mi}\n", 1)
		r.Write("relay.yaml", wrong)
		r.Eventually("it is noticed", func() bool {
			_, body := r.Get("/readyz")
			return strings.Contains(body, "more than half of the volume")
		})
		r.Write("relay.yaml", strings.Replace(wrong, "spec:\n", stop+"  intake: Hold\n", 1))
		r.Eventually("the hold counts", held(r))
		r.Eventually("mail is held", func() bool { _, state := r.Get("/state"); return strings.Contains(state, `"intake": "Hold"`) })
		r.Write("relay.yaml", relay)
		r.Eventually("it is as before", func() bool { return !held(r)() && mail(r) == "250" })
	})
}

// A folder without a PrinterRelay has no policy for the one that runs.
func TestAFolderWithoutARelayTakesNoMail(t *testing.T) {
	r, relay := folder(t)
	remove(t, r, "relay.yaml")
	r.Eventually("no new mail", func() bool { return mail(r) == "421" })
	r.Write("relay.yaml", relay)
	r.Eventually("it is back", func() bool { return mail(r) == "250" })
}

// A hold that is edited, and an upstream that is suspended, while what they stand beside
// cannot be applied: who was held stays held, who is meant now is held too, and the edit
// is all there is once it can be applied.
func TestTheKillSwitchIsEditedWhileAllElseIsWrong(t *testing.T) {
	t.Run("hold", func(t *testing.T) {
		r, relay := folder(t)
		taken := rig.StartUpstream(t, rig.Script{}).Port
		broken := strings.Replace(relay, "  listeners:\n", fmt.Sprintf("  listeners:\n  - {name: second, port: %d, tls: {mode: None}}\n", taken), 1)
		of := func(yaml, who string) string {
			return strings.Replace(yaml, "spec:\n", "spec:\n  holds: [{name: stolen, senders: ["+who+"@copier.test]}]\n", 1)
		}
		held := func(who string) bool { // from the moment it is taken, or not at all
			c := r.Dial()
			defer c.Close()
			id := rig.QueueID(t, c.Send(who+"@copier.test", []string{"a@corp.example"}, rig.Scan(who+"@copier.test", "a@corp.example")))
			_, body := r.Get("/queue/" + id)
			return strings.Contains(body, `"state": "held"`)
		}
		r.Write("relay.yaml", of(relay, "mfp"))
		r.Eventually("the hold counts", func() bool { return held("mfp") })
		r.Write("relay.yaml", of(broken, "other"))
		r.Eventually("the edit counts", func() bool { return held("other") })
		if !held("mfp") {
			t.Error("the edit let the stolen device go, though it is not applied")
		}
		r.Write("relay.yaml", of(relay, "other"))
		r.Eventually("the edit is all there is", func() bool { return !held("mfp") })
		if !held("other") {
			t.Error("nor does the edit hold")
		}
	})
	t.Run("upstream", func(t *testing.T) {
		r, _ := folder(t)
		breaks(r, "relay.yaml")
		suspended, err := os.ReadFile(filepath.Join(r.Manifests, "upstream.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		r.Write("upstream.yaml", string(suspended)+"  suspend: true\n")
		r.Eventually("it is suspended", func() bool {
			_, state := r.Get("/state")
			return strings.Contains(state, `"suspended": true`)
		})
	})
}
