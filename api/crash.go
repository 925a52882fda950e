package api

import (
	"github.com/dewpaas/dew/cf"
)

// What is kept of instances that crashed, and how those that run came up. Cloud
// Foundry has neither; who may read an app's log may read these.

var crashList = listing[*cf.Crash]{show: showCrash}

func (s *Server) crashRoutes(t table) {
	under(t, "crashes", crashList)
	t.get("/v3/crashes/{guid}", func(c *call) (any, error) {
		r, err := cf.Get[cf.Crash](c.tx, c.param("guid"))
		if err != nil {
			return nil, hide(err, "Crash")
		}
		a, err := cf.Get[cf.App](c.tx, r.AppGUID)
		if err != nil {
			return nil, hide(err, "Crash")
		}
		if _, err := c.space(a.SpaceGUID, look, "Crash"); err != nil {
			return nil, err
		}
		o, err := showCrash(c, r)
		o["boot"], o["reports"], o["stack"], o["console"] = steps(r.Boot), append([]string{}, r.Reports...), r.Stack, r.Console
		return o, err
	})
	t.get("/v3/apps/{guid}/boot", withApp(look, (*call).boots))
}

// showCrash leaves out what is long.
func showCrash(c *call, r *cf.Crash) (obj, error) {
	return c.base(&r.Meta, "crashes", obj{"type": r.Type, "index": r.Index, "cell_id": r.CellID, "tender": r.Tender, "droplet_checksum": r.Droplet, "version": r.Version,
		"began_at": stamp(r.Began), "ended_at": stamp(r.Ended), "reason": r.Reason, "exit_description": r.Description, "exit_status": r.Status,
		"cpu_seconds": r.CPUSeconds, "peak_memory_in_bytes": r.PeakMemory, "relationships": obj{"app": toOne(r.AppGUID)},
		"links": obj{"app": c.link("apps", r.AppGUID)}}), nil
}

// steps are a boot timeline, in milliseconds since the placement.
func steps(list []cf.Step) []obj {
	out := []obj{}
	for _, s := range list {
		out = append(out, obj{"name": s.Name, "after_ms": float64(s.After.Microseconds()) / 1000})
	}
	return out
}

// boots are the boot timelines of an app's instances that run.
func (c *call) boots(a *cf.App) (obj, error) {
	placements, err := cf.List[cf.Placement](c.tx, cf.Query{Where: []cf.Cond{cf.Is("app_guid", a.GUID)}, Order: []cf.Order{{Key: "created_at"}}})
	list := []obj{}
	for _, p := range placements {
		r, err := cf.First[cf.Report](c.tx, cf.Is("guid", p.GUID))
		if err != nil {
			return nil, err
		}
		if r != nil && len(r.Boot) > 0 {
			list = append(list, obj{"guid": p.GUID, "type": p.Type, "index": p.Index, "cell_id": p.CellID, "boot": steps(r.Boot)})
		}
	}
	return obj{"resources": list}, err
}
