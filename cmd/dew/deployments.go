package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/dewpaas/dew/cmd/dew/client"
)

// continueCmd is `dew continue-deployment`.
type continueCmd struct {
	App    string `arg:"" help:"Name of the app."`
	NoWait bool   `help:"Do not wait for the deployment's next pause or end."`
}

func (l *continueCmd) Run(ctx context.Context, c *console) error {
	s, app, d, err := c.findDeployment(ctx, l.App)
	if err != nil {
		return err
	}
	if err := s.Do(ctx, http.MethodPost, "/v3/deployments/"+d.GUID+"/actions/continue", nil, nil); err != nil {
		return err
	}
	if l.NoWait {
		return nil
	}
	return s.follow(ctx, app, d, "DEPLOYED")
}

// cancelCmd is `dew cancel-deployment`.
type cancelCmd struct {
	App    string `arg:"" help:"Name of the app."`
	NoWait bool   `help:"Do not wait until the app is as it was before."`
}

func (l *cancelCmd) Run(ctx context.Context, c *console) error {
	s, app, d, err := c.findDeployment(ctx, l.App)
	if err != nil {
		return err
	}
	if err := s.Do(ctx, http.MethodPost, "/v3/deployments/"+d.GUID+"/actions/cancel", nil, nil); err != nil {
		return err
	}
	if l.NoWait {
		return nil
	}
	return s.follow(ctx, app, d, "CANCELED")
}

// findDeployment finds the one that is under way: an app has one at most.
func (c *console) findDeployment(ctx context.Context, name string) (*session, *client.App, *client.Deployment, error) {
	s, app, err := c.findApp(ctx, name)
	if err != nil {
		return nil, nil, nil, err
	}
	list, err := client.List[client.Deployment](ctx, s.Client, "/v3/deployments",
		url.Values{"app_guids": {app.GUID}, "status_values": {"ACTIVE"}, "order_by": {"-created_at"}})
	if err != nil {
		return nil, nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, nil, withHint(fmt.Errorf("no deployment of app %s is under way", app.Name), "`dew restart "+app.Name+" --strategy canary` begins one")
	}
	return s, app, &list[0], nil
}
