// Package controllers turns the three kinds into running relays: it fetches,
// resolves references, compiles the plan, renders, applies what differs, prunes,
// asks the instances, and patches one status (docs/operator.md).
//
// It may import api/v1alpha1, controllers/..., relay/plan, relay/admin/access
// and controller-runtime; never relay/smtpd, relay/queue or relay/spool.
package controllers
