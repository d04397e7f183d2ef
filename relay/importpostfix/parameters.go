package importpostfix

import (
	"regexp"
	"sync"
)

// defaults are Postfix's own values (3.7) of the parameters that are looked at;
// package test/interop compares them with what postconf says.
var defaults = map[string]string{
	"2bounce_notice_recipient":                  "postmaster",
	"always_bcc":                                "",
	"anvil_rate_time_unit":                      "60s",
	"append_at_myorigin":                        "yes",
	"append_dot_mydomain":                       "${{$compatibility_level} <level {1} ? {yes} : {no}}",
	"bounce_queue_lifetime":                     "5d",
	"canonical_classes":                         "envelope_sender, envelope_recipient, header_sender, header_recipient",
	"canonical_maps":                            "",
	"compatibility_level":                       "0",
	"config_directory":                          "/etc/postfix",
	"default_database_type":                     "hash",
	"default_destination_concurrency_limit":     "20",
	"default_destination_rate_delay":            "0s",
	"default_transport":                         "smtp",
	"delay_warning_time":                        "0h",
	"fallback_relay":                            "",
	"inet_interfaces":                           "all",
	"inet_protocols":                            "all",
	"mail_name":                                 "Postfix",
	"maximal_backoff_time":                      "4000s",
	"maximal_queue_lifetime":                    "5d",
	"message_size_limit":                        "10240000",
	"minimal_backoff_time":                      "300s",
	"mydestination":                             "$myhostname, localhost.$mydomain, localhost",
	"mynetworks":                                "",
	"mynetworks_style":                          "${{$compatibility_level} <level {2} ? {subnet} : {host}}",
	"myorigin":                                  "$myhostname",
	"mydomain":                                  "localdomain",
	"non_smtpd_milters":                         "",
	"parent_domain_matches_subdomains":          "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,qmqpd_authorized_clients,relay_domains,smtpd_access_maps",
	"recipient_canonical_maps":                  "",
	"relay_domains":                             "${{$compatibility_level} <level {2} ? {$mydestination} : {}}",
	"relayhost":                                 "",
	"sender_bcc_maps":                           "",
	"sender_canonical_maps":                     "",
	"sender_dependent_relayhost_maps":           "",
	"smtp_destination_concurrency_limit":        "$default_destination_concurrency_limit",
	"smtp_destination_rate_delay":               "$default_destination_rate_delay",
	"smtp_enforce_tls":                          "no",
	"smtp_fallback_relay":                       "$fallback_relay",
	"smtp_generic_maps":                         "",
	"smtp_helo_name":                            "$myhostname",
	"smtp_sasl_auth_enable":                     "no",
	"smtp_sasl_password_maps":                   "",
	"smtp_sender_dependent_authentication":      "no",
	"smtp_tcp_port":                             "smtp",
	"smtp_tls_CAfile":                           "",
	"smtp_tls_cert_file":                        "",
	"smtp_tls_key_file":                         "$smtp_tls_cert_file",
	"smtp_tls_policy_maps":                      "",
	"smtp_tls_security_level":                   "",
	"smtp_tls_wrappermode":                      "no",
	"smtp_use_tls":                              "no",
	"smtpd_banner":                              "$myhostname ESMTP $mail_name",
	"smtpd_client_connection_count_limit":       "50",
	"smtpd_client_message_rate_limit":           "0",
	"smtpd_client_restrictions":                 "",
	"smtpd_data_restrictions":                   "",
	"smtpd_delay_reject":                        "yes",
	"smtpd_end_of_data_restrictions":            "",
	"smtpd_enforce_tls":                         "no",
	"smtpd_helo_restrictions":                   "",
	"smtpd_milters":                             "",
	"smtpd_null_access_lookup_key":              "<>",
	"smtpd_recipient_limit":                     "1000",
	"smtpd_recipient_restrictions":              "",
	"smtpd_relay_before_recipient_restrictions": "${{$compatibility_level} <level {3.6} ? {no} : {yes}}",
	"smtpd_relay_restrictions":                  "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}",
	"smtpd_restriction_classes":                 "",
	"smtpd_sasl_auth_enable":                    "no",
	"smtpd_sasl_path":                           "smtpd",
	"smtpd_sasl_security_options":               "noanonymous",
	"smtpd_sasl_tls_security_options":           "$smtpd_sasl_security_options",
	"smtpd_sasl_type":                           "cyrus",
	"smtpd_sender_login_maps":                   "",
	"smtpd_sender_restrictions":                 "",
	"smtpd_timeout":                             "${stress?{10}:{300}}s",
	"smtpd_tls_auth_only":                       "no",
	"smtpd_tls_cert_file":                       "",
	"smtpd_tls_chain_files":                     "",
	"smtpd_tls_key_file":                        "$smtpd_tls_cert_file",
	"smtpd_tls_mandatory_protocols":             ">=TLSv1",
	"smtpd_tls_protocols":                       ">=TLSv1",
	"smtpd_tls_req_ccert":                       "no",
	"smtpd_tls_security_level":                  "",
	"smtpd_tls_wrappermode":                     "no",
	"smtpd_upstream_proxy_protocol":             "",
	"smtpd_use_tls":                             "no",
	"strict_rfc821_envelopes":                   "no",
	"virtual_alias_domains":                     "$virtual_alias_maps",
	"virtual_alias_maps":                        "$virtual_maps",
	"virtual_mailbox_domains":                   "$virtual_mailbox_maps",
	"virtual_mailbox_maps":                      "",
	"virtual_maps":                              "",
}

// disposition says why a parameter is not carried, and what to do about it.
type disposition struct {
	level       Level
	why, remedy string
}

// dispositions are tried in order; the first whose pattern fits a name counts.
var dispositions = []struct {
	pattern string
	disposition
}{
	{
		`^(header|mime_header|nested_header|body|smtp_header|smtp_body|milter_header|smtp_mime_header|smtp_nested_header)_checks$|^(smtp_)?(reply_filter|command_filter)$`,
		disposition{Weaker, "the relay has no checks by regular expressions", "content.attachmentTypes and senders.check of rules are what it has; filter behind the relay"},
	},
	{
		`^content_filter$|^smtpd_proxy_filter$|^receive_override_options$|milter`,
		disposition{Weaker, "the relay hands mail to no filter", "filter behind the relay; content.attachmentTypes of rules bounds what may be attached"},
	},
	{
		`^smtpd_(sasl_exceptions_networks|sasl_mechanism_filter|reject_unlisted_|discard_ehlo|command_filter|policy_service_|tls_ask_ccert|tls_ccert|relay_restrictions_|etrn)|^local_recipient_maps$|^relay_recipient_maps$|^smtpd_reject_`,
		disposition{Weaker, "the relay has no such check", "recipients.allowed and senders.allowed of rules"},
	},
	{
		`^smtpd_client_(connection|recipient|new_tls|auth|message|event)_|^smtpd_.*_(soft|hard)_error_limit$|^smtpd_(soft|hard)_error_limit$|^smtpd_junk_command_limit$|^smtpd_error_sleep_time$|^anvil_`,
		disposition{Weaker, "the relay has limits of its own", "rateLimit of rules; limits of listeners; docs/limits.md"},
	},
	{`^(recipient_bcc_maps)$`, disposition{LeftOut, "copies depend on the sender, not on the recipient", "spec.copies, or a copy at the server behind"}},
	{`^smtpd_sender_login_maps$|^smtpd_restriction_classes$`, disposition{NoNeed, "no restriction uses it", "none"}},
	{`^smtpd_(relay_before_recipient_restrictions|delay_reject|null_access_lookup_key)$`, disposition{NoNeed, "it changes no decision", "none"}},
	{`^smtp_tls_(eccert|dcert|cert|chain)_files?$`, disposition{LeftOut, "direct delivery shows no certificate; at a smarthost one is carried", "clientCertificateRef of the MailUpstream"}},
	{`^masquerade_`, disposition{LeftOut, "subdomains are not cut off", "sender.domain of the MailUpstreams with rewrite: OutsideDomain"}},
	{`^sender_dependent_default_transport_maps$`, disposition{Decide, "routes go to upstreams, not to transports; this mail goes by the first upstream", "write spec.routes with senders"}},
	{
		`^(relocated_maps|propagate_unmatched_extensions|recipient_delimiter|alias_|mailbox_|home_mailbox|mail_spool|local_|luser_relay|forward_path|biff|allow_mail_to|virtual_(gid|uid|mailbox|minimum|transport)|fallback_transport|owner_request|require_home|strict_mailbox|expand_owner|newaliases|deliver_lock|mydestination$|reset_owner|frozen_delivered|sun_mailtool|export_env|import_env|default_privs|command_|in_flow|unknown_local|unknown_virtual|undisclosed)`,
		disposition{NoNeed, "the relay has no mailboxes", "none"},
	},
	{
		`^(lmtp_|pipe_|qmqpd?_|postscreen_|dnsblog_|tlsproxy_|verify_|address_verify_|fast_flush|lmdb|berkeley|proxy_(read|write)|postmulti_|multi_instance|xforward|xclient|smtpd_authorized_|qmgr_|trigger_|flush_|hopcount|hash_queue|queue_|default_process|default_extra|default_minimum|default_delivery|default_destination|default_recipient|default_transport_rate|initial_destination|destination_concurrency|bounce_size|header_|line_length|mime_|maps_|rewrite_|resolve_|show_user|stale_lock|syslog|maillog|mail_|max_|transport_retry|ipc_|daemon_|debug|data_|config_|command_directory|html_|readme_|manpage_|meta_|sample_|sendmail_path|mailq_path|setgid|shlib|process_id|opportunistic|openssl_path|compatibility_level|error_service|error_delivery|backwards_|enable_|import_|info_log|internal_mail|non_fqdn|unverified_|plaintext_reject|reject_code|relay_domains_reject|access_map_|invalid_|multi_recipient|tls_|postlog|postalias|service_|soft_bounce|empty_address|remote_header|local_header|always_add|message_reject|message_strip|smtputf8|detect_|respectful|nested_|extract_|delay_logging|application_event|cyrus_|authorized_|canonical_classes|sender_canonical_classes|recipient_canonical_classes|disable_|body_checks_size|parent_domain|permit_mx|prepend_delivered|proxy_interfaces|qmqp|inet_protocols|smtpd_banner|append_dot|swap_bangpath|allow_|strict_|duplicate_filter|dont_remove|virtual_alias_(address|expansion|recursion)|unknown_|alternate_|address_|stress|known_tcp|pidfile|fork_|trace_|nonexistent|send_cyrus|rbl_|default_rbl|defer_|deferred?_|double_bounce|bounce_|notify_|error_notice|delay_notice|2bounce|mail_version)`,
		disposition{NoNeed, "it is about how Postfix itself runs, or about what the relay does in its own way", "none; docs/policy.md and docs/failures.md say what it does"},
	},
	{
		`_(reject_code|service_name|directory|program|time_limit|limit|timeout|path|loglevel|maps_reject_code|code)$|^smtpd_(authorized|delay_open|per_record|starttls|tls_session|tls_loglevel|tls_received|tls_fingerprint|tls_always|tls_dh|tls_ec|tls_ciphers|tls_mandatory|tls_exclude|tls_CA|dns_reply|peername|helo_required|noop|history|hard|log_|service|sasl_(authenticated|local|response|service)|forbid_|tls_)`,
		disposition{NoNeed, "the relay has its own way of this; see docs/compatibility.md and docs/limits.md", "none"},
	},
	{
		`^smtp_(bind_|address_preference|balance|cname|connection_|defer_|delivery_|destination_|discard|dns_|fallback|generic|header|host_|initial|line_|mail_|mime|mx_|nested|never_|pix_|per_record|quit|quote|randomize|rcpt|reply|rset|sasl_|send_|skip_|starttls|tls_|tcp_|transport|xforward|always|data|helo|connect|body|enforce|balance|recipient|min|max)`,
		disposition{LeftOut, "the relay connects in its own way", "see the fields of smtp of the MailUpstream; limits bounds connections and rate"},
	},
	{
		`_transport$|_recipient_limit$|_concurrency_|_rate_delay$|^(relay|retry|virtual|local|error)_`,
		disposition{LeftOut, "it is about a transport that no upstream came of", "limits of the MailUpstreams"},
	},
}

var compiled = sync.OnceValue(func() []*regexp.Regexp {
	out := make([]*regexp.Regexp, len(dispositions))
	for i, d := range dispositions {
		out[i] = regexp.MustCompile(d.pattern)
	}
	return out
})

func dispositionOf(name string) disposition {
	for i, p := range compiled() {
		if p.MatchString(name) {
			return dispositions[i].disposition
		}
	}
	return disposition{}
}
