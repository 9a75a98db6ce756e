-- The devices of one commune in the order of their ids: the audience of most warnings is found
-- without reading the province's other phones.
CREATE INDEX device_commune ON device (commune, id) WHERE channel <> 'none';
