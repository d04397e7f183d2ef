package v1alpha1

// LocalReference names an object in the same namespace. References never cross
// namespaces.
type LocalReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// CIDR is a network in CIDR notation, IPv4 or IPv6: 10.20.3.0/24, fd00::/8. A
// single device is a /32 or a /128.
// +kubebuilder:validation:MinLength=4
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be a network in CIDR notation, such as 10.20.3.0/24 or 10.20.3.7/32"
type CIDR string

// AddressPattern names mail addresses: "*" is every address, "*@corp.example"
// every address of a domain, "*@*.corp.example" of its subdomains,
// "scan-*@corp.example" and "it@corp.example" some of them. No pattern matches
// the null sender <>.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=254
// +kubebuilder:validation:XValidation:rule="self == '*' || self.matches('^[^@\\\\s<>,;]+@([*][.])?[^@\\\\s<>,;*]+$')",message="must be *, *@domain, *@*.domain or local@domain"
type AddressPattern string

// MailAddress is one mail address: it@corp.example.
// +kubebuilder:validation:MinLength=3
// +kubebuilder:validation:MaxLength=254
// +kubebuilder:validation:XValidation:rule="self.matches('^[^@\\\\s<>,;*]+@[^@\\\\s<>,;*]+$')",message="must be one address: local@domain"
type MailAddress string

// DomainName is a DNS domain in its ASCII or Unicode form: corp.example.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule=`self.matches('^[\\pL\\pM\\pN_]([\\pL\\pM\\pN_-]*[\\pL\\pM\\pN_])?([.][\\pL\\pM\\pN_]([\\pL\\pM\\pN_-]*[\\pL\\pM\\pN_])?)*$')`,message="must be a domain without a dot at its end, such as corp.example"
type DomainName string

// Mechanism is a SASL mechanism that a copier may authenticate with.
// +kubebuilder:validation:Enum=Plain;Login;CRAMMD5
type Mechanism string

// The mechanisms of a listener.
const (
	MechanismPlain   Mechanism = "Plain"
	MechanismLogin   Mechanism = "Login"
	MechanismCRAMMD5 Mechanism = "CRAMMD5"
)

// UsedBy names an object that refers to this one.
type UsedBy struct {
	// kind of the object.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
