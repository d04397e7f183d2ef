package postfix

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// mainCF is the instance's main.cf. All mail for all recipients goes to one
// Maildir; virtual(8) says in Delivered-To for whom. No DNS, no system files.
func (s *Server) mainCF(t testing.TB) string {
	t.Helper()
	nobody := id(t, "nobody")
	auth, tls := "no", "may"
	access := "check_recipient_access regexp:" + s.path("etc", "recipients")
	restrictions := access + ", reject_unauth_destination"
	if len(s.options.Users) > 0 || s.options.Tokens {
		auth = "yes"
	}
	if s.options.RequireAuth {
		restrictions = access + ", permit_sasl_authenticated, reject"
	}
	if s.options.RequireTLS || s.options.RequireAuth {
		tls = "encrypt"
	}
	lines := []string{
		"compatibility_level = 3.6",
		"queue_directory = " + s.path("queue"),
		"data_directory = " + s.path("data"),
		"maillog_file = " + s.path("postfix.log"),
		"maillog_file_prefixes = " + s.dir,
		"myhostname = " + s.Hostname,
		"mydestination =",
		"mynetworks =",
		"inet_interfaces = " + s.options.Address,
		"inet_protocols = ipv4",
		"smtpd_peername_lookup = no",
		"disable_dns_lookups = yes",
		"alias_maps =",
		"alias_database =",
		"local_recipient_maps =",
		"virtual_mailbox_domains = static:all",
		"virtual_mailbox_maps = static:inbox/",
		"virtual_mailbox_base = " + s.path("mail"),
		fmt.Sprintf("virtual_uid_maps = static:%d", nobody),
		fmt.Sprintf("virtual_gid_maps = static:%d", nobody),
		"virtual_mailbox_limit = 0",
		"mailbox_size_limit = 0",
		fmt.Sprintf("message_size_limit = %d", s.options.MessageSize),
		"smtputf8_enable = yes",
		"smtpd_relay_restrictions =",
		"smtpd_recipient_restrictions = " + restrictions,
		"smtpd_delay_reject = yes",
		"smtpd_error_sleep_time = 0",
		"in_flow_delay = 0", // a transaction that is given up otherwise costs the next one a second
		"smtpd_client_connection_rate_limit = 0",
		"smtpd_client_connection_count_limit = 0",
		"smtpd_tls_security_level = " + tls,
		"smtpd_tls_cert_file = " + s.path("tls", s.Hostname+".crt"),
		"smtpd_tls_key_file = " + s.path("tls", s.Hostname+".key"),
		"smtpd_tls_received_header = yes",
		"smtpd_tls_auth_only = yes",
		"smtpd_tls_loglevel = 1",
		"smtpd_sasl_auth_enable = " + auth,
		"smtpd_sasl_type = dovecot",
		"smtpd_sasl_path = " + s.path("sasl", "auth"),
		"smtpd_sasl_authenticated_header = yes",
	}
	if s.options.RelayPort > 0 {
		lines = append(lines, "virtual_mailbox_domains =", "mynetworks = 127.0.0.0/8",
			"smtpd_recipient_restrictions = permit_mynetworks, reject",
			fmt.Sprintf("relayhost = [127.0.0.1]:%d", s.options.RelayPort))
	}
	return settings(append(lines, strings.Split(s.options.Extra, "\n")...))
}

// settings keeps the last of the lines that set one parameter: postconf warns
// of the others.
func settings(lines []string) string {
	last := map[string]int{}
	name := func(line string) string { k, _, _ := strings.Cut(line, "="); return strings.TrimSpace(k) }
	for i, l := range lines {
		last[name(l)] = i
	}
	out := ""
	for i, l := range lines {
		if last[name(l)] == i {
			out += l + "\n"
		}
	}
	return out
}

const recipients = `/^unknown@refused\.example$/ 550 5.1.1 no such user here
/^greylisted@refused\.example$/ 450 4.7.1 greylisted, come back later
`

// masterCF is the instance's master.cf: nothing runs in a chroot, and what
// would carry mail elsewhere is not there.
func (s *Server) masterCF() string {
	services := []string{
		fmt.Sprintf("%s inet n - n - - smtpd", s.address(s.Port)),
		fmt.Sprintf("%s inet n - n - - smtpd -o smtpd_tls_wrappermode=yes", s.address(s.TLSPort)),
		"pickup unix n - n 60 1 pickup",
		"cleanup unix n - n - 0 cleanup",
		"qmgr unix n - n 300 1 qmgr",
		"tlsmgr unix - - n 1000? 1 tlsmgr",
		"rewrite unix - - n - - trivial-rewrite",
		"bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce",
		"trace unix - - n - 0 bounce",
		"flush unix n - n 1000? 0 flush",
		"proxymap unix - - n - - proxymap",
		"proxywrite unix - - n - 1 proxymap",
		"error unix - - n - - error",
		"retry unix - - n - - error",
		"virtual unix - n n - - virtual",
		"smtp unix - - n - - smtp",
		"anvil unix - - n - 1 anvil",
		"showq unix n - n - - showq",
		"postlog unix-dgram n - n - 1 postlogd",
	}
	return strings.Join(services, "\n") + "\n" + s.options.Services
}

// dovecotConf lets Dovecot do nothing but check passwords and tokens for Postfix.
func (s *Server) dovecotConf() string {
	mechanisms, driver, args := "plain login cram-md5", "passwd-file", "scheme=PLAIN username_format=%u "+s.path("sasl", "users")
	if s.options.Tokens {
		mechanisms, driver, args = "xoauth2 oauthbearer", "oauth2", s.path("sasl", "oauth2.conf")
	}
	return strings.NewReplacer("DIR", s.dir, "MECHANISMS", mechanisms, "DRIVER", driver, "ARGS", args).Replace(`base_dir = DIR/sasl/run
log_path = DIR/dovecot.log
protocols =
ssl = no
auth_mechanisms = MECHANISMS
disable_plaintext_auth = no
auth_verbose = yes
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
passdb {
  driver = DRIVER
  args = ARGS
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}
service auth {
  unix_listener DIR/sasl/auth {
    mode = 0600
    user = postfix
  }
}
`)
}

// Installed fails the test unless everything that this package runs is
// installed.
func Installed(t testing.TB) {
	t.Helper()
	for _, name := range []string{"postfix", "dovecot", "smtp-sink", "smtp-source"} {
		env.FindOrFail(t, name)
	}
}
