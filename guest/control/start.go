package control

// Start begins to read the control channel.
func Start() {}
