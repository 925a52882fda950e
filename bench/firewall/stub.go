package main

type flood struct{}
type kit struct{}

func (*flood) Run() error { return nil }
func (*kit) Run() error   { return nil }
