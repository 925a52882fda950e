package api

import (
	"strconv"

	"github.com/dewpaas/dew/cf"
)

var taskList = listing[*cf.Task]{
	filters: with(ofApp, filters{"names": by("name"), "sequence_ids": byNumber("sequence_id"), "organization_guids": byOrg}),
	visible: inVisibleSpaces, show: showTask,
}

// showTask shows the command, which may hold secrets, to developers only.
func showTask(c *call, t *cf.Task) (obj, error) {
	s, err := cf.Get[cf.Space](c.tx, t.SpaceGUID)
	if err != nil {
		return nil, err
	}
	fields := obj{"name": t.Name, "sequence_id": t.Sequence, "state": t.State, "memory_in_mb": t.MemoryMB, "disk_in_mb": t.DiskMB, "log_rate_limit_in_bytes_per_second": t.LogRate,
		"user": nullable(t.User), "result": obj{"failure_reason": nullable(t.FailureReason)}, "droplet_guid": t.DropletGUID, "relationships": obj{"app": toOne(t.AppGUID)},
		"links": obj{"app": c.link("apps", t.AppGUID), "droplet": c.link("droplets", t.DropletGUID),
			"cancel": obj{"href": c.url + "/v3/tasks/" + t.GUID + "/actions/cancel", "method": "POST"}}}
	if c.may(s, secrets) {
		fields["command"] = t.Command
	}
	return c.described(&t.Meta, "tasks", fields), nil
}

func (s *Server) taskRoutes(t table) {
	list(t, "/v3/tasks", taskList)
	under(t, "tasks", taskList)
	t.post("/v3/apps/{guid}/tasks", 202, withApp(develop, (*call).createTask))
	t.get("/v3/tasks/{guid}", inSpace("Task", look, showTask))
	t.patch("/v3/tasks/{guid}", inSpace("Task", develop, relabel(showTask)))
	t.post("/v3/tasks/{guid}/actions/cancel", 202, inSpace("Task", operate, (*call).cancelTask))
	t.put("/v3/tasks/{guid}/cancel", 202, inSpace("Task", operate, (*call).cancelTask))
}

type taskBody struct {
	Name     *string  `json:"name"`
	Command  *string  `json:"command"`
	MemoryMB *int     `json:"memory_in_mb"`
	DiskMB   *int     `json:"disk_in_mb"`
	LogRate  *int64   `json:"log_rate_limit_in_bytes_per_second"`
	Droplet  *string  `json:"droplet_guid"`
	Metadata metadata `json:"metadata"`
	Template *struct {
		Process struct {
			GUID string `json:"guid"`
		} `json:"process"`
	} `json:"template"`
}

func (c *call) createTask(a *cf.App) (obj, error) {
	if err := c.enabled("task_creation"); err != nil {
		return nil, err
	}
	var b taskBody
	if err := c.read(&b); err != nil {
		return nil, err
	}
	s, err := cf.Get[cf.Space](c.tx, a.SpaceGUID)
	if err != nil {
		return nil, err
	}
	if b.Droplet != nil {
		if err := c.ownDroplet(*b.Droplet); err != nil {
			return nil, err
		}
		copied := *a
		copied.DropletGUID = *b.Droplet
		a = &copied
	}
	p, err := c.taskProcess(a, b)
	if err != nil {
		return nil, err
	}
	if c.runtime == nil {
		return nil, &refusal{503, 170020, "CF-TaskWorkersUnavailable", "Task workers are unavailable: no cell is connected to this API."}
	}
	l, err := c.taskLaunch(a, p)
	if err != nil {
		return nil, err
	}
	t := &cf.Task{AppGUID: a.GUID, SpaceGUID: a.SpaceGUID, Command: l.Command, State: cf.TaskPending, MemoryMB: l.MemoryMB, DiskMB: l.DiskMB, LogRate: l.LogRate,
		DropletGUID: l.DropletGUID, User: c.id.Name, Launch: *l}
	if err := b.Metadata.apply(&t.Meta); err != nil {
		return nil, err
	}
	if err := c.insertTask(a, s, t, b.Name); err != nil {
		return nil, err
	}
	c.changed(a)
	return showTask(c, t)
}

// taskProcess is the process that a task would be: the template's, or a plain
// one, with the limits that were asked for.
func (c *call) taskProcess(a *cf.App, b taskBody) (*cf.Process, error) {
	p := newProcess(a, "task", 1)
	if b.Template != nil {
		from, err := cf.First[cf.Process](c.tx, cf.Is("guid", b.Template.Process.GUID), cf.Is("app_guid", a.GUID))
		if err == nil && from == nil {
			err = unprocessable("The request is semantically invalid: template process not found")
		}
		if err != nil {
			return nil, err
		}
		copied := *from
		p, copied.Instances = &copied, 1
	}
	if b.Command != nil {
		p.Command = b.Command
	} else if b.Template == nil {
		return nil, unprocessable("Command can't be blank")
	}
	if p.Command != nil && (*p.Command == "" || len(*p.Command) > 4096) {
		return nil, unprocessable("Command must be between 1 and 4096 characters")
	}
	return p, scaleBody{MemoryMB: b.MemoryMB, DiskMB: b.DiskMB, LogRate: b.LogRate}.apply(p)
}

func (c *call) taskLaunch(a *cf.App, p *cf.Process) (*cf.Launch, error) {
	l, err := cf.Prepare(c.tx, c.url, a, p)
	switch cf.KindOf(err) {
	case cf.Conflict:
		return nil, unprocessable("Task must have a droplet. Assign current droplet to app.")
	case cf.Invalid:
		return nil, unprocessable("Command can't be blank: the process of the template has none")
	}
	return l, err
}

func (c *call) insertTask(a *cf.App, s *cf.Space, t *cf.Task, name *string) error {
	last, err := cf.List[cf.Task](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "sequence_id", Descending: true}}, Limit: 1})
	if err != nil {
		return err
	}
	t.Sequence = 1
	if len(last) > 0 {
		t.Sequence = last[0].Sequence + 1
	}
	t.Name = cf.NewGUID()[:8]
	if name != nil {
		t.Name = *name
	}
	if err := goodName(t.Name); err != nil {
		return err
	}
	if err := c.tx.Insert(t); err != nil {
		return err
	}
	if err := c.within(s, computing); err != nil {
		return err
	}
	return c.record("audit.app.task.create", target(a), s, obj{"task_guid": t.GUID, "request": obj{"name": t.Name, "command": "[PRIVATE DATA HIDDEN]", "memory_in_mb": t.MemoryMB}})
}

// ownDroplet refuses droplets of apps that the caller does not develop.
func (c *call) ownDroplet(guid string) error {
	d, err := cf.Get[cf.Droplet](c.tx, guid)
	if err != nil {
		return hide(err, "Droplet")
	}
	_, err = c.space(d.SpaceGUID, develop, "Droplet")
	return err
}

func (c *call) cancelTask(t *cf.Task) (obj, error) {
	switch t.State {
	case cf.TaskSucceeded, cf.TaskFailed:
		return nil, unprocessable("Task state is %s and therefore cannot be canceled", t.State)
	}
	a, err := cf.Get[cf.App](c.tx, t.AppGUID)
	if err != nil {
		return nil, err
	}
	t.State = cf.TaskCanceling
	if err := c.tx.Save(t); err != nil {
		return nil, err
	}
	if err := c.recordApp("audit.app.task.cancel", a, obj{"task_guid": t.GUID}); err != nil {
		return nil, err
	}
	c.changed(a)
	return showTask(c, t)
}

func number10(n int) string { return strconv.Itoa(n) }
