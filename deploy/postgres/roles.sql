-- One role a service, for `fulfil dev up` and for the container alike; run again at every start.
-- The limits go with the role, whoever connects with it: a plan made while a table was empty would stay for ever, and a
-- client that hangs in a transaction would stop everybody's appends. Migrations raise lock_timeout for themselves.
do $$
declare
    service text;
begin
    foreach service in array array['order_service', 'inventory_service', 'payment_service', 'projector'] loop
        if not exists (select from pg_roles where rolname = service) then
            execute format('create role %I login', service);
        end if;
        execute format('alter role %I set plan_cache_mode = force_custom_plan', service);
        execute format('alter role %I set statement_timeout = %L', service, '5s');
        execute format('alter role %I set lock_timeout = %L', service, '5s');
        execute format('alter role %I set idle_in_transaction_session_timeout = %L', service, '5s');
    end loop;
    -- Its rows and its positions come from the topics and are lost together: a commit need not wait for the disk.
    alter role projector set synchronous_commit = off;
end
$$;
