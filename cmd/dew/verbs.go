package main

// verbs are those that use a foundation, wherever it runs, over the same API
// as cf.
type verbs struct {
	Target     targetCmd       `cmd:"" group:"Use a foundation:" help:"Tell or choose the foundation, organization and space to use."`
	Login      loginCmd        `cmd:"" group:"Use a foundation:" help:"Log in; the foundation on this machine needs no login."`
	Logout     logoutCmd       `cmd:"" group:"Use a foundation:" help:"Forget the login."`
	Push       pushCmd         `cmd:"" group:"Use a foundation:" help:"Make an app of a folder, or a new version of it, and run it."`
	Apps       appsCmd         `cmd:"" group:"Use a foundation:" help:"List the apps of the space."`
	App        appCmd          `cmd:"" group:"Use a foundation:" help:"Tell how an app and its instances are."`
	Logs       logsCmd         `cmd:"" group:"Use a foundation:" help:"Print the last lines of an app's log and follow it."`
	Start      startCmd        `cmd:"" group:"Use a foundation:" help:"Start an app."`
	Stop       stopCmd         `cmd:"" group:"Use a foundation:" help:"Stop an app."`
	Restart    restartCmd      `cmd:"" group:"Use a foundation:" help:"Replace all instances of an app."`
	Scale      scaleCmd        `cmd:"" group:"Use a foundation:" help:"Change the number of instances, or their limits."`
	Env        envCmd          `cmd:"" group:"Use a foundation:" help:"Print an app's environment variables."`
	SetEnv     setEnvCmd       `cmd:"" group:"Use a foundation:" help:"Set environment variables of an app."`
	UnsetEnv   unsetEnvCmd     `cmd:"" group:"Use a foundation:" help:"Remove environment variables of an app."`
	Delete     deleteCmd       `cmd:"" group:"Use a foundation:" help:"Delete an app."`
	Routes     routesCmd       `cmd:"" group:"Use a foundation:" help:"List the routes of the space."`
	MapRoute   mapRouteCmd     `cmd:"" group:"Use a foundation:" help:"Lead a route to an app; made if there is none."`
	UnmapRoute unmapRouteCmd   `cmd:"" group:"Use a foundation:" help:"Lead a route to an app no longer."`
	Events     eventsCmd       `cmd:"" group:"Use a foundation:" help:"Tell what has happened to an app, and who did it."`
	Crashes    crashesCmd      `cmd:"" group:"Use a foundation:" help:"List the last crashes of an app, or print all that is kept of one."`
	Boot       bootCmd         `cmd:"" group:"Use a foundation:" help:"Tell how the instances of an app came up, step by step."`
	Tasks      tasksCmd        `cmd:"" group:"Use a foundation:" help:"List the tasks of an app."`
	RunTask    runTaskCmd      `cmd:"" group:"Use a foundation:" help:"Run a command once, with an app's droplet."`
	Rollback   rollbackCmd     `cmd:"" group:"Use a foundation:" help:"Go back to an earlier revision of an app."`
	Continue   continueCmd     `cmd:"" name:"continue-deployment" group:"Use a foundation:" help:"Let a deployment that pauses go on."`
	Cancel     cancelCmd       `cmd:"" name:"cancel-deployment" group:"Use a foundation:" help:"Take a deployment back: the old instances stay."`
	Policies   policiesCmd     `cmd:"" name:"network-policies" group:"Use a foundation:" help:"List which apps may talk to which."`
	AddPolicy  addPolicyCmd    `cmd:"" name:"add-network-policy" group:"Use a foundation:" help:"Let one app talk to another."`
	DropPolicy removePolicyCmd `cmd:"" name:"remove-network-policy" group:"Use a foundation:" help:"Let it no longer."`
	Curl       curlCmd         `cmd:"" group:"Use a foundation:" help:"Send a request to the API as the user."`

	Reach    reachCmd    `cmd:"" group:"Look into the cell on this machine:" help:"Tell whether one app reaches another, or an address, and by which rule."`
	Topology topologyCmd `cmd:"" group:"Look into the cell on this machine:" help:"Draw who may talk to whom, as it is enforced now."`
	Tcpdump  tcpdumpCmd  `cmd:"" group:"Look into the cell on this machine:" help:"Record the frames of an instance, from outside."`
}
