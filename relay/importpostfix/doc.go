// Package importpostfix makes manifests of a Postfix configuration: main.cf,
// master.cf and the tables that they name, as text. It is pure: it reads a file
// system that it is given, and asks nothing of the machine.
//
// What comes out lets nobody send who could not before, as nobody and to nobody
// that Postfix would have refused him: restrictions are evaluated for every class
// of clients that they tell apart (restrict.go, rules.go), and what cannot be
// followed refuses. Of content less is checked where Postfix has filters; that, and
// every other parameter that nothing was made of, is a finding (parameters.go).
//
// It imports the standard library and the YAML writer alone.
package importpostfix
