module github.com/dewpaas/dew

go 1.26
