-- Claims look at each live broadcast's open chunks, so that none waits behind all chunks of another.
CREATE INDEX fanout_chunk_open ON fanout_chunk (broadcast_id, channel, lane, chunk_no)
    WHERE state = 'open';
DROP INDEX fanout_chunk_claim;
