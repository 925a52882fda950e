package breach

// Attack is one entry of the catalogue.
type Attack struct {
	Name  string // unique, letters, digits and '-'
	Class Class
	Goal  string // what the attacker has when it succeeds
	Rows  []Row  // one for each kind of tender
}

// Row is how an attack is made behind one kind of tender.
type Row struct {
	Tender  Kind
	Guard   Guard    // what stops it
	Steps   []string // of the attacker; {name} is a value of the scene
	Witness Witness

	// Baseline are the steps in a container, where they differ.
	Baseline []string
	// NoBaseline leaves the attack out of the comparison, because there is
	// nothing of the kind in a container.
	NoBaseline bool
	// Alone keeps other attacks away, from an attack that is about shares.
	Alone bool
}

// Kind of tender.
type Kind string

const (
	Process Kind = "process"
	QEMU    Kind = "qemu"
)

// Class groups attacks for people.
type Class string

const (
	Files      Class = "files of the host and of others"
	Neighbours Class = "other processes"
	Privilege  Class = "rights over the host's kernel"
	Resources  Class = "more than its share"
	Control    Class = "the caretaker"
	Persist    Class = "coming back"
	Machine    Class = "the machine it runs on"
	Escape     Class = "out of QEMU"
	Wire       Class = "frames"
	Reach      Class = "hosts and ports"
	Names      Class = "names"
)

// Guard is what is said to stop an attack.
type Guard struct {
	Name string // unique
	What string // it is, for people
	off  func(s *scene)
}

// Witness tells from outside whether an attack succeeded.
type Witness struct {
	// arrange lays out what there is to gain and sets the scene's values.
	arrange []func(s *scene) error
	// gained looks: when the attacker holds, again until patience ends, and
	// when it has ended.
	gained func(s *scene) (bool, error)
	// begun is called when the attacker has been started.
	begun func(s *scene) error
	// after is called when the attacker holds, before the first look: what the
	// host does meanwhile.
	after func(s *scene) error
}
